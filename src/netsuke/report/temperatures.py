"""Distillation in the report: what each temperature made of students of each size."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netsuke.core.quantity import show
from netsuke.report.plot import ACCENT, MUTED, graph

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, kw_only=True)
class Temperatures:
    """One step whose temperature was tuned. rows: (parameters, temperature, soft, quality), as rehearsed.
    curve: inline SVG, empty where nothing is drawn. curves: what its lines are, the strongest first."""

    step: str
    metric: str
    rows: tuple[tuple[str, ...], ...]
    curve: str
    curves: str


def temperatures(record: Mapping[str, Any], drawn: bool) -> tuple[Temperatures, ...]:
    """Every final step whose table holds temperatures. drawn: with plots, which need matplotlib."""
    metric = record["metric"]
    return tuple(
        _temperatures(step["name"], step["table"]["trials"], metric, drawn)
        for step in record["steps"]
        if step.get("final", True) and (step.get("table") or {}).get("kind") == "temperatures"
    )


def _temperatures(
    name: str, trials: list[Mapping[str, Any]], metric: Mapping[str, Any], drawn: bool
) -> Temperatures:
    rows = tuple(
        (f"{t['parameters']:,}", f"{t['temperature']:g}", f"{t['soft']:g}",
         show(t["quality"], metric["unit"]))
        for t in trials
    )  # fmt: skip
    return Temperatures(
        step=name,
        metric=metric["name"],
        rows=rows,
        curve=graph(lambda axes: _draw(axes, trials, metric["unit"])) if drawn else "",
        curves=" and ".join(f"{count:,} parameters" for count in _sizes(trials)),
    )


def _sizes(trials: list[Mapping[str, Any]]) -> list[int]:
    """The sizes of students, the one that was asked for first."""
    return list(dict.fromkeys(t["parameters"] for t in trials))


def _draw(axes: "Axes", trials: list[Mapping[str, Any]], unit: str) -> None:
    """Quality over temperature, a line for each size; the share of the soft loss as set."""
    factor, soft = 100 if unit == "%" else 1, trials[0]["soft"]
    for count, colour in zip(_sizes(trials), (ACCENT, MUTED), strict=False):
        points = sorted(
            (t["temperature"], factor * t["quality"])
            for t in trials
            if t["parameters"] == count and t["soft"] == soft
        )
        look: Any = {"marker": "o", "markersize": 6, "linewidth": 1.4, "color": colour}
        axes.plot(*zip(*points, strict=True), **look)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
