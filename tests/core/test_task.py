"""A task made ready: what is split off where."""

import numpy as np
import pytest

from netsuke.core.errors import NetsukeError
from netsuke.core.task import Task, ready

X, Y = np.arange(1000, dtype=np.float32).reshape(-1, 1), np.arange(1000) % 2


def rows(stream) -> set[float]:
    return {float(v) for batch in stream.batches() for v in batch.inputs[0][:, 0]}


def test_validate_is_split_off_train_and_said_so():
    splits = ready(Task(train=(X, Y), test=(X[:10], Y[:10])))
    assert (len(splits.train), len(splits.validate), len(splits.test)) == (900, 100, 10)
    assert not rows(splits.train) & rows(splits.validate)
    assert "validate: 100 samples split off train" in splits.notes


def test_without_train_validate_is_half_of_test():
    splits = ready(Task(test=(X, Y)))
    assert splits.train is None
    assert (len(splits.validate), len(splits.test)) == (500, 500)
    assert not rows(splits.validate) & rows(splits.test)


def test_calibration_is_drawn_from_train_never_from_validate_or_test():
    splits = ready(Task(train=(X, Y), test=(X + 5000, Y)))
    assert len(splits.calibrate) == 500
    assert rows(splits.calibrate) <= rows(splits.train)


def test_what_is_given_is_taken_as_it_is():
    splits = ready(
        Task(train=(X, Y), validate=(X[:7], Y[:7]), test=(X[:5], Y[:5]), calibrate=X[:3])
    )
    sizes = [len(s) for s in (splits.train, splits.validate, splits.test, splits.calibrate)]
    assert sizes == [1000, 7, 5, 3]
    assert splits.notes == ()


def test_no_test_is_said_so():
    splits = ready(Task(validate=(X, Y)))
    assert splits.test is None
    assert any("final quality is unknown" in note for note in splits.notes)


def test_the_seed_decides_the_split():
    held = [rows(ready(Task(train=(X, Y)), seed).validate) for seed in (0, 0, 1)]
    assert held[0] == held[1]
    assert held[0] != held[2]


def test_nothing_to_judge_on_is_an_error():
    with pytest.raises(NetsukeError, match="give validate, test or train"):
        ready(Task(calibrate=X))


def test_an_empty_calibration_set_is_an_error():
    with pytest.raises(NetsukeError, match="calibrate: there are no samples"):
        ready(Task(train=(X, Y), calibrate=X[:0]))


def test_an_unknown_metric_lists_the_known_ones():
    with pytest.raises(NetsukeError, match="metric: no 'accurracy'; there are accuracy, f1"):
        ready(Task(test=(X, Y), metric="accurracy"))
