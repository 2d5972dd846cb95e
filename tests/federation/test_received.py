"""Messages of Flower's own, checked as a server does."""

import pytest
import torch
from flwr.app import Message
from flwr.app.error import Error
from torch import Generator

from netsuke import NetsukeError
from netsuke.federation.job import compressor
from netsuke.federation.letter import UPDATE, letter
from netsuke.federation.received import opened, sensible, weighed
from netsuke.federation.update import changed

BEFORE = {"weight": torch.zeros(40, 5), "bias": torch.zeros(5)}
BY = compressor("int8")


def reply(after, samples: float = 10, before=BEFORE, **more: float) -> Message:
    update = changed(before, after, BY, BY.memory(), Generator().manual_seed(0))
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
    assert (found.samples, found.loss, found.bytes) == (10, 0.5, 200 + 8 + 20)
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


@pytest.mark.parametrize(("variance", "fine"), [(0.0, True), (-1e-8, True), (-0.1, False)])
def test_a_variance_below_zero_is_rejected(variance: float, fine: bool):
    before = {**BEFORE, "norm.running_var": torch.full((5,), 0.3)}
    after = {**before, "norm.running_var": torch.full((5,), variance)}
    sent = reply(after, before=before)
    if fine:
        opened(sent, "kitchen", before, BY, samples=10)
    else:
        with pytest.raises(NetsukeError, match="variances below zero"):
            opened(sent, "kitchen", before, BY, samples=10)


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


UNITS = (3, 2)


def worths(*values: float) -> dict[str, torch.Tensor]:
    return {"0": torch.tensor(values), "1": torch.tensor([1.0, 2.0])}


def test_what_channels_are_worth_is_read():
    found = weighed(Message(letter(worths(4.0, 0.0, 9.0)), reply_to=asked()), "kitchen", 10, UNITS)
    assert [each.tolist() for each in found.worth] == [[4, 0, 9], [1, 2]]
    assert (found.name, found.samples, found.length) == ("kitchen", 10, 4.0)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (worths(1.0, float("nan"), 1.0), "no squares"),
        (worths(1.0, float("inf"), 1.0), "no squares"),
        (worths(1.0, -1.0, 1.0), "no squares"),
        (worths(1.0, 2.0), "another network"),
        ({"0": torch.ones(3)}, "another network"),
    ],
)
def test_worths_that_are_none(sent, said: str):
    with pytest.raises(NetsukeError, match=said):
        weighed(Message(letter(sent), reply_to=asked()), "kitchen", 10, UNITS)


def test_absurd_worths_are_named():
    every = [
        weighed(Message(letter(worths(by, by, by)), reply_to=asked()), f"client {by:g}", 10, UNITS)
        for by in (1.0, 2.0, 3.0, 1e6)
    ]
    good, why = sensible(every)
    assert [one.name for one in good] == ["client 1", "client 2", "client 3"]
    assert list(why) == ["client 1e+06"]
