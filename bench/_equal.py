"""Figure 3: ``prune.channels`` against Torch-Pruning and ModelOpt FastNAS, as fast and at equal MACs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench._data import SHORT
from bench._duel import (
    FAIR,
    ROUNDS,
    SEEDS,
    SPEEDUP,
    Arena,
    Side,
    Tried,
    arena_of,
    best_of,
    carve,
    carved,
    request_of,
    strongest,
)
from bench._fastnas import FAIR as FASTNAS_FAIR
from bench._fastnas import FASTNAS, searches
from bench._harness import Bench, Claim, Figure, say
from bench._pruned import FEWER, IMPORTANCES, Cuts, as_fast, as_large, cuts, macs, variants
from bench._setup import network, with_training
from bench._timing import Timing, compare

HALF = 0.5
MOST = 1.05
"""A variant that has no network of equal MACs is compared where it has up to 5 % more."""
TITLES = {
    **{title: f"Torch-Pruning, {title}" for title in IMPORTANCES.values()},
    FASTNAS: FASTNAS,
}
REACH = (
    "intervals are 95 %, over the test images and the seeds: the variance over images of the mean over "
    "seeds, and the variance over seeds, are added"
)


@dataclass(frozen=True)
class Round:
    """All sides under one rule, Netsuke's among them.

    right: (seeds, images) bool each, after the retraining. tried: every variant of the rivals.
    """

    sides: dict[str, Side]
    times: dict[str, Timing]
    right: dict[str, np.ndarray]
    tried: list[Tried]

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates of one image."""
        return {name: macs(side.make()) for name, side in self.sides.items()}

    def above(self) -> dict[str, dict[str, float]]:
        """Points Netsuke is above each rival."""
        ours = self.right["Netsuke"]
        return {name: apart(ours, self.right[name]) for name in TITLES if name in self.right}

    def claims(self, rule: str, relation: str) -> tuple[Claim, ...]:
        above = self.above()
        return tuple(
            Claim(f"{rule}: above {words}", above.get(name, {}).get("points"), "pt", relation, 0.0)
            for name, words in TITLES.items()
        )

    def to_dict(self, found: str) -> dict[str, Any]:
        """found: what the variants' networks were taken for."""
        work, above = self.macs(), self.above()
        sides = {
            name: {
                "how": side.how,
                "macs": work[name],
                **self.times[name].to_dict(),
                "accuracy": self.right[name].mean(1).tolist(),
                "netsuke_above": above.get(name),
                "bytes": side.file.stat().st_size,
            }
            for name, side in self.sides.items()
        }
        return {"sides": sides, "variants": [one.to_dict(found) for one in self.tried]}


def equal(bench: Bench) -> Figure:
    """Every side pruned to 1/1.6 of the time, and to half of the MACs; retrained, judged on the test images."""
    arena, folder = arena_of(bench), bench.folder("equal")
    reference, ours = carve(bench, arena.test[0][:1])
    wanted = [*variants(bench.quick), *searches(bench.quick)]
    made, missing = cuts(wanted, request_of(bench, arena, folder), folder)
    fast = _round(bench, arena, ours, _as_fast(arena, made, reference, folder), reference)
    half = carved(bench, with_training(bench, SHORT), HALF, "macs")
    large = _round(bench, arena, half, _as_large(arena, made, half, folder), reference)
    whole = macs(network(bench))
    details = {
        "as_fast": fast.to_dict("speedup"),
        "equal_macs": large.to_dict("macs"),
        "macs": whole,
        "loop": vars(arena.loop) | {"images": len(arena.short[1])},
    }
    notes = (*missing, *_said("as fast", fast, whole), *_said("equal MACs", large, whole), REACH)
    return Figure(
        "pruning alone, as fast and at equal MACs",
        _claims(fast, large, whole),
        len(arena.test[1]) * len(fast.right["Netsuke"]),
        details,
        (*notes, FAIR, FASTNAS_FAIR),
    )


def _claims(fast: Round, large: Round, whole: int) -> tuple[Claim, ...]:
    work = large.macs()
    ours = work.pop("Netsuke")
    leanest = min(work.values()) / ours if work else None
    return (
        *fast.claims("as fast", ">"),
        *large.claims("equal MACs", "≥"),
        Claim("as fast: faster than FP32", fast.times["Netsuke"].ratio, "x", "≥", SPEEDUP),
        Claim("equal MACs: Netsuke's share of all", ours / whole, "", "≤", HALF),
        Claim("equal MACs: fewest of a rival ÷ ours", leanest, "", "≥", FEWER),
    )


def _as_fast(arena: Arena, made: list[Cuts], reference: Path, folder: Path) -> list[Tried]:
    sample = arena.test[0][:1]
    found = [as_fast(cut, SPEEDUP, reference, sample, folder) for cut in made]
    return strongest(arena, found, folder)


def _as_large(arena: Arena, made: list[Cuts], ours: Side, folder: Path) -> list[Tried]:
    wanted = macs(ours.make())
    say(f"  Netsuke: {wanted / 1e6:.1f} million MACs; {ours.how}")
    return strongest(arena, [as_large(cut, wanted, MOST) for cut in made], folder)


def _round(bench: Bench, arena: Arena, ours: Side, tried: list[Tried], reference: Path) -> Round:
    """The best of each rival beside ours, timed together, retrained with every seed."""
    sides = {"Netsuke": ours, **best_of(tried, bench.folder("equal"))}
    files = {name: side.file for name, side in sides.items()} | {"FP32": reference}
    times = compare(files, "FP32", arena.test[0][:1], bench.count(ROUNDS, 2))
    seeds = SEEDS[: bench.count(3, 1)]
    right = {
        name: np.stack([arena.right(side, seed, arena.test) for seed in seeds])
        for name, side in sides.items()
    }
    return Round(sides, times, right, tried)


def apart(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Points the first is above the second, with the 95 % interval over images and seeds; both (seeds,
    images) bool, the same seeds and images."""
    points = 100 * (ours.astype(float) - theirs)
    seeds, images = points.shape
    variance = float(points.mean(0).var(ddof=1)) / images
    if seeds > 1:
        variance += float(points.mean(1).var(ddof=1)) / seeds
    mean, reach = float(points.mean()), 1.96 * variance**0.5
    return {"points": mean, "low": mean - reach, "high": mean + reach}


def _said(rule: str, one: Round, whole: int) -> tuple[str, ...]:
    """A line for each side."""
    work, above = one.macs(), one.above()
    return tuple(
        f"{rule}: {name} {100 * one.right[name].mean():.2f} %, {one.times[name].ratio:.2f}×, "
        f"{100 * work[name] / whole:.1f} % of the MACs{_interval(above.get(name))}"
        for name in one.sides
    )


def _interval(gap: Mapping[str, float] | None) -> str:
    if gap is None:
        return ""
    return f"; Netsuke {gap['points']:+.2f} pt above ({gap['low']:+.2f} to {gap['high']:+.2f})"
