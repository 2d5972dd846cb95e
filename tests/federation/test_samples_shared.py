import numpy as np
import pytest

from netsuke import NetsukeError, Task
from netsuke.core.task import ready
from netsuke.federation.partition import Dirichlet, Even, Owners, check_samples, partition, share

CLASSES = 5


def splits(owners=None, count: int = 1000):
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(count, 3)).astype(np.float32), draw.integers(0, CLASSES, count)
    return ready(Task(train=(x, y), validate=(x[:10], y[:10]), owners=owners))


@pytest.mark.parametrize("how", [Even(), Dirichlet(0.1), Dirichlet(100)])
def test_every_row_is_of_one_client(how):
    rows = how.rows(splits(), 7, seed=3)
    assert len(rows) == 7
    assert sorted(np.concatenate(rows)) == list(range(1000))
    again = how.rows(splits(), 7, seed=3)
    assert all(np.array_equal(a, b) for a, b in zip(rows, again, strict=True))
    assert not all(
        np.array_equal(a, b) for a, b in zip(rows, how.rows(splits(), 7, seed=4), strict=True)
    )


def largest_share(alpha: float) -> float:
    """Of a client's samples those of its most frequent class, in the mean over clients."""
    found = splits()
    labels = found.train.source.take(np.arange(1000)).targets
    shares = [np.bincount(labels[r]).max() / len(r) for r in Dirichlet(alpha).rows(found, 5, 0)]
    return float(np.mean(shares))


def test_the_smaller_alpha_the_fewer_classes_a_client_has():
    assert largest_share(0.1) > 0.6
    assert largest_share(100) < 0.35


def test_owners_stay_whole():
    owners = np.repeat([f"speaker {i}" for i in range(10)], 100)
    rows = Owners().rows(splits(owners), 4, seed=0)
    whose = [set(owners[r]) for r in rows]
    assert sum(map(len, whose)) == 10
    assert not set.intersection(*whose)
    assert sorted(np.concatenate(rows)) == list(range(1000))


def test_owners_follow_what_is_split_off_for_validation():
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(200, 3)).astype(np.float32), draw.integers(0, 2, 200)
    found = ready(Task(train=(x, y), owners=np.repeat([0, 1], 100)))
    for number in range(2):
        mine = share(found, Owners(), (number, 2), seed=0).train
        assert len({int(row) // 100 for row in mine.indices}) == 1


def test_a_client_gets_its_own_samples():
    found = splits()
    mine = share(found, Even(), (1, 4), seed=0)
    assert np.array_equal(mine.train.indices, Even().rows(found, 4, 0)[1])
    assert mine.validate is found.validate


@pytest.mark.parametrize(
    ("how", "clients", "said"),
    [(Owners(), 2, "the task names none"), (Dirichlet(0.01), 600, "without samples")],
)  # fmt: skip
def test_what_cannot_be_shared_out_is_said(how, clients, said):
    with pytest.raises(NetsukeError, match=said):
        share(splits(), how, (clients - 1, clients), seed=0)


def test_too_few_for_a_client():
    with pytest.raises(NetsukeError, match="client-9 has 1 training samples; 2 are the least"):
        check_samples(share(splits(), Even(), (8, 999), seed=0), "client-9")


def test_more_clients_than_owners():
    with pytest.raises(NetsukeError, match="2 of them for 3 clients; give --clients 2"):
        Owners().rows(splits(np.repeat([0, 1], 500)), 3, seed=0)


def test_an_owner_for_each_sample():
    with pytest.raises(NetsukeError, match=r"owners: \(3,\) of them for 1000 training samples"):
        splits(np.zeros(3))


@pytest.mark.parametrize("text", ["uneven", "dirichlet:x", "dirichlet:0", "dirichlet:-1"])
def test_a_partition_that_is_none(text):
    with pytest.raises(NetsukeError, match="partition"):
        partition(text)
