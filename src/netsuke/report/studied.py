"""A study as a page: every trial, the front, and the runs that are on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netsuke.core.quantity import show
from netsuke.report.plot import ACCENT, INK, MUTED, graph
from netsuke.report.render import environment

if TYPE_CHECKING:
    from matplotlib.axes import Axes

UNITS = {"size": "B", "stored": "B", "memory": "B", "latency": "s", "energy": "J", "drop": "pt"}
SCALES = {"B": (1e3, "kB"), "s": (1e-3, "ms"), "J": (1e-3, "mJ"), "pt": (0.01, "points")}
TITLES = {
    "size": "size on disk", "stored": "stored form", "memory": "peak memory", "latency": "latency",
    "energy": "energy", "drop": "quality lost",
}  # fmt: skip


@dataclass(frozen=True)
class Panel:
    """Two objectives against each other. plot: inline SVG."""

    x: str
    y: str
    plot: str


@dataclass(frozen=True)
class Row:
    """A trial of the front. cells: its figures on validation, in the order of the objectives. outcome, reason,
    folder: of the run that it became; empty while the study is under way."""

    number: int
    cells: tuple[str, ...]
    passes: str
    outcome: str
    reason: str
    folder: str


def page(study: Mapping[str, Any], title: str) -> str:
    """One HTML file, nothing fetched, no script. study: the content of ``study.json``.

    Raises NetsukeError where jinja2 or matplotlib is not installed.
    """
    objectives = study["objectives"]
    return environment(autoescape=True).get_template("study.html").render(
        title=title, device=study["device"], over=study["over"],
        count=len(study["trials"]), heads=[TITLES[name] for name in objectives],
        spent={name: show(seconds, "s") for name, seconds in study["spent"].items()},
        panels=_panels(study), rows=[_row(one, objectives) for one in study["front"]],
    )  # fmt: skip


def passes_of(recipe: str) -> str:
    """``"prune.channels → quantize.static"`` of a recipe's TOML."""
    found = [line[7:-1] for line in recipe.splitlines() if line.startswith("use = ")]
    return " → ".join(found) or "the original"


def _row(one: Mapping[str, Any], objectives: list[str]) -> Row:
    return Row(
        number=one["number"],
        cells=tuple(show(one["values"][name], UNITS[name]) for name in objectives),
        passes=passes_of(one["recipe"]),
        outcome=one.get("verdict", {}).get("outcome", ""),
        reason=one.get("verdict", {}).get("reason", ""),
        folder=one.get("folder", ""),
    )


def _panels(study: Mapping[str, Any]) -> list[Panel]:
    """The last objective over each of the others; of one alone there is nothing to draw."""
    *others, last = study["objectives"]
    return [
        Panel(_label(name), _label(last), graph(lambda axes, n=name: _draw(axes, study, n, last)))  # type: ignore[misc]
        for name in others
    ]


def _label(name: str) -> str:
    return f"{TITLES[name]} ({SCALES[UNITS[name]][1]})"


def _draw(axes: "Axes", study: Mapping[str, Any], x: str, y: str) -> None:
    """Every trial, hollow where it is beyond a limit; those of the front filled."""
    best = {one["number"] for one in study["front"]}
    kinds: Any = (
        ([t for t in study["trials"] if t["over"] > 0], MUTED, "none", 22),
        ([t for t in study["trials"] if t["over"] <= 0 and t["number"] not in best], MUTED, MUTED, 22),
        ([t for t in study["trials"] if t["number"] in best], ACCENT, ACCENT, 46),
    )  # fmt: skip
    for trials, edge, face, size in kinds:
        points = [[t["values"][name] / SCALES[UNITS[name]][0] for name in (x, y)] for t in trials]
        if points:
            across, up = zip(*points, strict=True)
            axes.scatter(across, up, s=size, edgecolors=edge, facecolors=face)
    known = {e["what"]: e["value"] for e in study["baseline"]}
    start = known.get("latency_p50" if x == "latency" else x)
    if start is not None and y == "drop":
        axes.scatter([start / SCALES[UNITS[x]][0]], [0.0], s=46, color=INK, marker="D")
