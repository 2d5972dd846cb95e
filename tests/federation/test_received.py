"""Messages of Flower's own, checked as a server does."""

import pytest
import torch
from flwr.app import Message
from flwr.app.error import Error
from torch import Generator

from netsuke import NetsukeError
from netsuke.federation.job import compressor
from netsuke.federation.letter import UPDATE, letter
from netsuke.federation.received import opened, sensible
from netsuke.federation.update import changed

BEFORE = {"weight": torch.zeros(40, 5), "bias": torch.zeros(5)}
BY = compressor("int8")


def reply(after, samples: float = 10, **more: float) -> Message:
    update = changed(BEFORE, after, BY, BY.memory(), Generator().manual_seed(0))
    figures = {"num-examples": samples, "loss": 0.5, "seconds": 1.0, **more}
    return Message(letter({UPDATE: update}, figures), reply_to=asked())


def asked() -> Message:
    return Message(letter(asked="{}"), 7, "train")


def moved(by: float) -> dict[str, torch.Tensor]:
    return {name: tensor + by for name, tensor in BEFORE.items()}


def test_what_is_right_is_opened():
    found = opened(reply(moved(0.5)), "kitchen", BEFORE, BY, samples=10)
    assert torch.allclose(found.state["weight"], torch.full((40, 5), 0.5))
    assert torch.equal(found.state["bias"], torch.full((5,), 0.5))
    assert (found.samples, found.loss, found.bytes) == (10, 0.5, 200 + 4 + 20)
    assert found.length == pytest.approx(0.5 * 205**0.5)
    dense = found.dense()
    assert set(dense.content.array_records["arrays"]) == {"weight", "bias"}


@pytest.mark.parametrize("name", ["weight", "bias"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_rejected(name: str, value: float):
    spoilt = moved(0.5)
    spoilt[name].view(-1)[3] = value
    with pytest.raises(NetsukeError, match="no numbers"):
        opened(reply(spoilt), "kitchen", BEFORE, BY, samples=10)


@pytest.mark.parametrize("samples", [11, 0, -4, float("nan"), 1e30])
def test_a_client_that_lies_about_its_samples(samples: float):
    with pytest.raises(NetsukeError, match="samples, and said it had 10"):
        opened(reply(moved(0.5), samples), "kitchen", BEFORE, BY, samples=10)


def test_an_error_is_told_as_it_is():
    failed = Message(Error(2, "train: the loss became NaN"), reply_to=asked())
    with pytest.raises(NetsukeError, match="the loss became NaN"):
        opened(failed, "kitchen", BEFORE, BY, samples=10)


@pytest.mark.parametrize("content", [letter(), letter({"worth": torch.zeros(3)}), letter(asked="{}")])  # fmt: skip
def test_what_is_no_update(content):
    with pytest.raises(NetsukeError, match="its message"):
        opened(Message(content, reply_to=asked()), "kitchen", BEFORE, BY, samples=10)


def test_an_absurd_update_is_named():
    every = [
        opened(reply(moved(by)), f"client {by}", BEFORE, BY, 10) for by in (0.5, 0.7, 0.6, 500.0)
    ]
    good, why = sensible(every)
    assert [one.name for one in good] == ["client 0.5", "client 0.7", "client 0.6"]
    assert "times as long as the median" in why["client 500.0"]
    assert sensible(every[2:])[1] == {}  # of two nobody can say which is absurd
