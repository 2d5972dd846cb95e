"""The quickest architectures of the zoo; ``python -m bench prune`` tries them all."""

import dataclasses
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.zoo import ENTRIES
from bench.zoo._parts import Entry
from bench.zoo._trial import Outcome, step
from bench.zoo.figure import Row, measure

QUICK = (
    "ResNet, slice-and-pad shortcuts", "ShuffleNet V2", "Autoencoder, group and instance norm",
    "LSTM, two layers", "Two inputs, FiLM", "Llama style",
)  # fmt: skip
NAMED = {entry.name: entry for entry in ENTRIES}


@pytest.mark.parametrize("name", QUICK)
def test_pruned_right_at_both_ratios(name: str) -> None:
    row = measure(NAMED[name])
    assert row.problems == ()
    assert all(o.left < 1 for o in row.whole)
    assert bool(row.narrower) == (name == "Llama style")


def test_there_are_enough_of_them_and_no_two_alike() -> None:
    assert len(NAMED) == len(ENTRIES) >= 25


class Cumulative(nn.Module):
    """Nothing of it can leave."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.end = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(torch.cumsum(self.start(x), 1))


def test_where_all_is_protected_the_row_says_so() -> None:
    row = measure(Entry("cumulative", lambda: (Cumulative(), (torch.randn(2, 6),))))
    assert row.problems == (
        "at 30%: masking changes nothing, so that agreement says nothing",
        "at 70%: masking changes nothing, so that agreement says nothing",
    )
    assert dict(row.protected)["start"].startswith("unknown operation cumsum")


def test_a_row_without_enough_left_out_or_with_trouble_does_not_hold() -> None:
    kept = Row("kept", whole=(Outcome(0.3, 0.99),))
    assert kept.problems == ("at 30%: only 1% leaves",)
    assert dataclasses.replace(kept, trouble="it does not trace").problems[0] == "it does not trace"
    wrong = Row(
        "wrong", narrower=(Outcome(0.7, 0.2, problems=("pruned and masked differ by 0.3",)),)
    )
    assert wrong.problems == ("at 70%: pruned and masked differ by 0.3",)


def test_a_network_that_does_not_train_is_told() -> None:
    frozen = torch.fx.symbolic_trace(Cumulative())
    for parameter in frozen.start.parameters():
        parameter.requires_grad_(False)
    assert step(frozen, (torch.randn(3, 6),)) is None  # the end still moves
    with torch.no_grad():
        frozen.end.weight.fill_(float("nan"))
    assert step(frozen, (torch.randn(3, 6),)) == "a gradient is not finite"
