"""Flower's strategies on updates of ours."""

import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType

from netsuke import NetsukeError
from netsuke.federation.letter import record, report, tensors
from netsuke.federation.strategies import (
    PRIVATE,
    STRATEGIES,
    Aggregation,
    moments,
    remember,
    strategy,
)

STATE = {"weight": torch.zeros(4, 3), "variance": torch.ones(3)}


class There:
    def __init__(self, count: int) -> None:
        self.count = count

    def get_node_ids(self):
        return range(1, self.count + 1)


def aggregated(how: Aggregation, moves: list[float], made=None) -> dict[str, torch.Tensor]:
    """What becomes of the state where the clients' weights and variances move so far."""
    made = made or strategy(how, len(moves), frozenset({"variance"}))
    asked = list(made.configure_train(1, record(STATE), ConfigRecord({}), There(len(moves))))
    assert {m.metadata.dst_node_id for m in asked} == set(range(1, len(moves) + 1))
    assert all(m.metadata.message_type == MessageType.TRAIN for m in asked)
    replies = [
        Message(
            report({n: t + by for n, t in STATE.items()}, {"num-examples": 10, "loss": 1.0}),
            reply_to=message,
        )
        for by, message in zip(moves, asked, strict=True)
    ]
    arrays, _ = made.aggregate_train(1, replies)
    assert isinstance(arrays, ArrayRecord)
    return tensors(arrays)


@pytest.mark.parametrize(
    ("name", "expected"), [("fedavg", 25.0), ("fedprox", 25.0), ("fedmedian", 0.15), ("trimmed", 0.15)]
)  # fmt: skip
def test_who_is_moved_by_one_hostile_client(name: str, expected: float):
    found = aggregated(Aggregation(name=name, trim=0.25), [0.1, 0.1, 0.2, 99.6])
    assert torch.allclose(found["weight"].double(), torch.full((4, 3), expected).double())


def test_adam_averages_statistics():
    made = strategy(Aggregation(name="fedadam", rate=0.01), 2, frozenset({"variance"}))
    found = aggregated(Aggregation(name="fedadam"), [-0.5, -0.7], made)
    assert torch.allclose(found["variance"].float(), torch.full((3,), 0.4))
    assert 0 < -float(found["weight"][0, 0]) < 0.1
    again = strategy(Aggregation(name="fedadam"), 2, frozenset({"variance"}))
    remember(again, moments(made))
    assert {n: t.tolist() for n, t in moments(again).items()} == {
        n: t.tolist() for n, t in moments(made).items()
    }
    assert moments(again)


@pytest.mark.parametrize("name", PRIVATE)
def test_noise_is_added_to_a_clipped_mean(name: str):
    quiet = aggregated(Aggregation(name=name, noise=1e-9, clip=0.5), [3.0, 3.0])
    assert float(torch.cat([quiet["weight"].flatten(), quiet["variance"] - 1]).norm()) == (
        pytest.approx(0.5, rel=1e-3)
    )
    loud = aggregated(Aggregation(name=name, noise=2.0, clip=0.5), [3.0, 3.0])
    assert not torch.allclose(loud["weight"], quiet["weight"], atol=0.05)


@pytest.mark.parametrize("name", sorted(set(STRATEGIES) - set(PRIVATE)))
def test_what_does_not_go_with_noise_is_said(name: str):
    with pytest.raises(NetsukeError, match="take fedavg or fedprox"):
        Aggregation(name=name, noise=1.0)


def test_a_strategy_that_is_none():
    with pytest.raises(NetsukeError, match="none of fedavg, fedprox"):
        Aggregation(name="average")
