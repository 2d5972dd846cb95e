"""Figure 4 of `bench search`: what a study finds that chance does not, in the same time."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench._harness import Bench, Claim, Figure, say
from bench._kept import kept_json, source_of
from bench._setup import RESNET20, network, post_training
from netsuke.study.verb import POST_TRAINING
from netsuke.study.workers import Here

if TYPE_CHECKING:
    from netsuke.study.laboratory import Laboratory
    from netsuke.study.studies import Study

SEEDS = (0, 1, 2)
SECONDS, SLICE = 600.0, 60.0
"""That each sampler gets for each seed, and how long it is at work before the other has its turn."""
OBJECTIVES = ("size", "latency", "drop")
WORST = 0.1
"""The reference point: the original's size and time, and ten points of quality lost."""
ARMS = {"study": "thompson", "chance": "random"}


@dataclass(frozen=True)
class Arm:
    """One search under way. studied: its trials; laboratory: where they are tried, nothing shared with others."""

    studied: Study
    laboratory: Laboratory

    @property
    def volume(self) -> float:
        """Of the front, as a share of what lies before the reference point."""
        return _volume(self, self.studied.front())


def searched(bench: Bench) -> Figure:
    """Post-training trials on ResNet-20, on validation: recipes, ratios, bits, ranges and widths."""
    seeds = SEEDS[:1] if bench.quick else SEEDS
    found = [_kept(bench, seed) for seed in seeds]
    ours, theirs = (sum(one[arm]["volume"] for one in found) / len(found) for arm in ARMS)
    below = sum(not one["study"]["covers the advisor's"] for one in found)
    claims = (
        Claim("hypervolume over that of chance", ours / theirs if theirs else None, "x", "≥", 1.05),
        Claim("fronts below the advisor's recipe", below, "", "≤", 0),
    )
    notes = tuple(
        ", ".join(f"{arm} {100 * one[arm]['volume']:.2f} % in {one[arm]['trials']} trials" for arm in ARMS)
        for one in found
    )  # fmt: skip
    trials = sum(one[arm]["trials"] for one in found for arm in ARMS)
    return Figure("a study against chance", claims, trials, {"seeds": found}, notes)


def _kept(bench: Bench, seed: int) -> dict[str, dict[str, Any]]:
    import netsuke.study as study

    how = f"studied {seed} {SECONDS} {SLICE} {OBJECTIVES} {WORST} {ARMS} {POST_TRAINING} {source_of(study)}"
    return kept_json(bench, how, lambda: _both(bench, seed))  # type: ignore[no-any-return]


def _both(bench: Bench, seed: int) -> dict[str, dict[str, Any]]:
    """The two in turns, so that whatever the machine does it does to both."""
    whole, turn = (20.0, 10.0) if bench.quick else (SECONDS, SLICE)
    with ExitStack() as stack:
        arms = {name: _arm(bench, sampler, seed, stack) for name, sampler in ARMS.items()}
        arms["study"].studied.start_from(_advised(arms["study"].laboratory))
        for number in range(round(whole / turn)):
            for arm in arms.values():
                list(arm.studied.run(Here(arm.laboratory), 100_000, turn))
            volumes = ", ".join(f"{name} {100 * arm.volume:.2f} %" for name, arm in arms.items())
            say(f"  seed {seed}, {(number + 1) * turn:.0f} s: {volumes}")
        return {name: _told(arm) for name, arm in arms.items()}


def _arm(bench: Bench, sampler: str, seed: int, stack: ExitStack) -> Arm:
    from netsuke.core.budget import Budget
    from netsuke.core.observer import Observer
    from netsuke.intake import take_goal, take_model
    from netsuke.study.opened import Opening, opened
    from netsuke.study.space import read_space
    from netsuke.study.storage import remembered
    from netsuke.study.studies import Search, Study

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=bench.folder("runs"))))
    goal = take_goal(post_training(bench), "local", Budget(), seed, Observer())
    taken = take_model(network(bench, RESNET20), goal.data, "resnet20")
    opening = Opening(out=folder, drafts=folder, objectives=OBJECTIVES, seed=seed)
    laboratory = stack.enter_context(opened(taken, goal, opening))
    search = Search(
        space=read_space(POST_TRAINING), objectives=OBJECTIVES, mark="", sampler=sampler, seed=seed,
        worth=laboratory.worth,
    )  # fmt: skip
    storage = stack.enter_context(remembered(folder, "", say))
    return Arm(Study(folder, storage, search), laboratory)


def _advised(laboratory: Laboratory) -> list[Any]:
    from netsuke.advisor.propose import propose
    from netsuke.fitting import facts_of

    facts = facts_of(laboratory.bench, laboratory.original)
    return [proposal.recipe for proposal in propose(facts).proposals]


def _told(arm: Arm) -> dict[str, Any]:
    first = min(arm.studied.found, key=lambda one: one.number)
    front = [one.to_dict() for one in arm.studied.front()]
    ahead = any(all(one["values"][o] <= first.values[o] for o in OBJECTIVES) for one in front)
    return {"volume": arm.volume, "trials": arm.studied.count, "front": front, "covers the advisor's": ahead}  # fmt: skip


def _volume(arm: Arm, found: Any) -> float:
    from netsuke.core.evidence import find
    from netsuke.study.front import hypervolume

    evidence = arm.laboratory.original.evidence
    size, late = (find(evidence, what) for what in ("size", "latency_p50"))
    assert size is not None
    assert late is not None
    points = [
        (one.values["size"] / size.value, one.values["latency"] / late.value, max(one.values["drop"], 0.0) / WORST)
        for one in found
    ]  # fmt: skip
    return hypervolume(points, (1.0, 1.0, 1.0))
