"""Data streams in every accepted form."""

import datasets
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from netsuke.core.data import Batch, Stream, stream, to_array
from netsuke.core.errors import NetsukeError

X = np.arange(20, dtype=np.float32).reshape(10, 2)
Y = np.arange(10) % 3


def read(given: Stream, **how) -> tuple[np.ndarray, np.ndarray]:
    batches = list(given.batches(**how))
    return (
        np.concatenate([b.inputs[0] for b in batches]),
        np.concatenate([b.targets for b in batches]),
    )


class Rows:
    """A map-style data set."""

    def __len__(self):
        return 10

    def __getitem__(self, i):
        return torch.from_numpy(X[i]), int(Y[i])


FORMS = {
    "arrays": lambda: (X, Y),
    "tensors": lambda: (torch.from_numpy(X), torch.from_numpy(Y)),
    "a list pair": lambda: [X, Y],
    "a list of samples": lambda: ([torch.from_numpy(row) for row in X], list(Y)),
    "lists of numbers": lambda: (X.tolist(), Y.tolist()),
    "a data set": Rows,
    "a tensor data set": lambda: TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)),
    "a loader": lambda: DataLoader(Rows(), batch_size=3),
    "a Hugging Face data set": lambda: datasets.Dataset.from_dict({"x": X, "label": Y}).with_format(
        "numpy"
    ),
    "a list of rows": lambda: [(X[i], int(Y[i])) for i in range(10)],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_samples(form):
    given = stream(FORMS[form](), "train")
    x, y = read(given, size=4)
    assert len(given) == 10
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


def test_batches_are_of_the_size_asked_for():
    assert [len(b) for b in stream((X, Y), "train").batches(4)] == [4, 4, 2]


def test_shuffling_keeps_pairs_and_repeats_with_the_seed():
    given = stream((X, Y), "train")
    x, y = read(given, shuffle=3)
    assert not np.array_equal(x, X)
    np.testing.assert_array_equal((x[:, 0] / 2).astype(int) % 3, y)
    np.testing.assert_array_equal(x, read(given, shuffle=3)[0])


def test_several_inputs_are_a_tuple_of_arrays():
    batch = next(stream(((X, X * 2), Y), "train").batches(5))
    assert [a.shape for a in batch.inputs] == [(5, 2), (5, 2)]


def test_a_split_is_a_partition_that_repeats_with_the_seed():
    rest, held = stream((X, Y), "train").split(0.3, seed=1)
    assert (len(rest), len(held)) == (7, 3)
    together = np.concatenate([read(rest)[0], read(held)[0]])
    np.testing.assert_array_equal(np.sort(together, axis=0), X)
    np.testing.assert_array_equal(
        read(held)[0], read(stream((X, Y), "train").split(0.3, seed=1)[1])[0]
    )


def test_a_split_of_a_split_stays_within_it():
    rest, held = stream((X, Y), "train").split(0.5, seed=1)
    again, last = rest.split(0.4, seed=2)
    assert len(again) + len(last) == len(rest)
    seen = {float(v) for part in (again, last, held) for v in read(part)[0][:, 0]}
    assert len(seen) == 10


def test_head_draws_without_replacement():
    given = stream((X, Y), "train")
    assert len(given.head(4)) == 4
    assert given.head(100) is given


def test_a_loader_is_split_through_its_data_set():
    rest, held = stream(DataLoader(Rows(), batch_size=3), "train").split(0.2, seed=0)
    assert (len(rest), len(held)) == (8, 2)


def test_calibration_takes_inputs_alone():
    for given in (X, torch.from_numpy(X), list(X)):
        batch = next(stream(given, "calibrate", labelled=False).batches(10))
        np.testing.assert_array_equal(batch.inputs[0], X)
        assert batch.targets is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((X, Y[:5]), r"train: inputs and targets differ in length: \[5, 10\]"),
        ((X[:0], Y[:0]), "train: there are no samples"),
        (X, r"train: expected \(inputs, targets\), got one array"),
        (7, "train: int is neither arrays"),
        (([X[0], X[1, :1]], [0, 1]), "train: the samples differ in shape"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_names_the_field(given, message):
    with pytest.raises(NetsukeError, match=message):
        stream(given, "train")


def test_a_mapping_without_a_target_lists_what_there_is():
    given = stream([{"x": X[0], "wish": 1}], "test")
    with pytest.raises(NetsukeError, match=r"test: no target among \['wish', 'x'\]"):
        list(given.batches())


def test_a_loader_without_a_data_set_cannot_be_split():
    class Endless:
        def __iter__(self):
            yield X, Y

    given = stream(Endless(), "train")
    assert len(given) == 10
    with pytest.raises(NetsukeError, match="train: this loader cannot be split"):
        given.split(0.1, 0)


def test_a_batch_counts_its_samples():
    assert len(Batch((X,), Y)) == 10


def test_tensors_that_need_gradients_become_arrays():
    np.testing.assert_array_equal(to_array(torch.ones(2, requires_grad=True)), [1, 1])
