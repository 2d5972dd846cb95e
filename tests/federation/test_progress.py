"""A federation's network, round by round, without the machines."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.workload_tiny import Tiny, task

from netsuke import NetsukeError
from netsuke.core.budget import Budget
from netsuke.core.observer import Observer
from netsuke.federation.checkpoint import resumed
from netsuke.federation.plan import Plan
from netsuke.federation.progress import Progress
from netsuke.federation.rounds import Round
from netsuke.intake import take_goal, take_model

CAME = Round(
    number=1, heard=("a",), rejected={}, late=(), up=1, down=1, wire=(1, 1), seconds=1.0, training=1.0, work=1.0, loss=0.5,
)  # fmt: skip


class Played:
    """Rounds that came to these states."""

    def __init__(self, *states: dict[str, torch.Tensor]) -> None:
        self._states = iter(states)
        self.members = self
        self.strategy: Any = None

    def gather(self, count: int) -> None:
        pass

    def told(self) -> list[str]:
        return []

    def play(
        self, state: Any, asked: Any, meanwhile: Callable[[], None]
    ) -> tuple[dict[str, torch.Tensor], Round]:
        meanwhile()
        return next(self._states), replace(CAME, number=asked.round)


def test_a_network_that_answers_with_nan_ends_it_and_what_was_before_is_kept(tmp_path: Path):
    goal = take_goal(task(), "local", Budget(), 0, Observer())
    model = take_model(Tiny(), goal.data, "model")
    plan = Plan(out=tmp_path, clients=2, rounds=3, lr=0.7)
    progress = Progress(model, goal, plan)
    good = progress.state
    spoilt = {name: -torch.ones_like(tensor) for name, tensor in good.items()}
    with pytest.raises(NetsukeError, match=r"round 2: .* answers with NaN; lr = 0.7 .* fedmedian"):
        progress.go(Played(good, spoilt))  # type: ignore[arg-type]
    found = resumed(tmp_path, progress.kept.mark, progress.kept.about)
    assert found is not None
    assert len(found.rounds) == 1
    state, best, _ = found.states()
    assert all(
        torch.equal(state[name], good[name]) and torch.equal(best[name], good[name])
        for name in good
    )
