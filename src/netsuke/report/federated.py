"""A federation as a page: what its rounds won, what they took, and whom they did without."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netsuke.core.quantity import show
from netsuke.report.plot import ACCENT, INK, MUTED, graph
from netsuke.report.render import environment

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Row:
    """A round, in words."""

    number: int
    score: str
    clients: int
    up: str
    seconds: str
    training: str
    without: str


def page(record: Mapping[str, Any], title: str) -> str:
    """One HTML file, nothing fetched, no script. record: the content of ``federation.json``.

    Raises NetsukeError where jinja2 or matplotlib is not installed.
    """
    rounds, metric = record["rounds"], record["metric"]
    ups, downs = (sum(one["wire"][way] for one in rounds) for way in (0, 1))
    updates = sum(one["up"] for one in rounds)
    return environment(autoescape=True).get_template("federated.html").render(
        title=title, metric=metric["name"], settings=record["settings"],
        first=_score(record["first"], metric), last=_score(rounds[-1]["score"], metric),
        up=show(ups, "B"), down=show(downs, "B"), updates=show(updates, "B"),
        scores=graph(lambda axes: _draw_scores(axes, record)),
        bytes=graph(lambda axes: _draw_bytes(axes, rounds)),
        rows=[_row(one, metric) for one in rounds],
    )  # fmt: skip


def _row(one: Mapping[str, Any], metric: Mapping[str, Any]) -> Row:
    said = [f"{name}: {why}" for name, why in one["rejected"].items()]
    said += [f"{name}: late" for name in one["late"]]
    return Row(
        number=one["number"], score=_score(one["score"], metric), clients=len(one["heard"]), up=show(one["wire"][0], "B"),
        seconds=show(one["seconds"], "s"), training=show(one["training"], "s"), without="; ".join(said),
    )  # fmt: skip


def _score(value: float, metric: Mapping[str, Any]) -> str:
    return f"{100 * value:.2f} %" if metric["unit"] == "%" else f"{value:.4g}"


def _draw_scores(axes: "Axes", record: Mapping[str, Any]) -> None:
    """After every round; a diamond for the network as it came."""
    scale = 100 if record["metric"]["unit"] == "%" else 1
    rounds = record["rounds"]
    numbers, scores = zip(*((one["number"], scale * one["score"]) for one in rounds), strict=True)
    axes.plot((0, *numbers), (scale * record["first"], *scores), color=ACCENT, linewidth=1.5)
    axes.scatter(numbers, scores, s=16, color=ACCENT)
    axes.scatter([0], [scale * record["first"]], s=46, color=INK, marker="D")


def _draw_bytes(axes: "Axes", rounds: list[Mapping[str, Any]]) -> None:
    """All that went up so far, over rounds."""
    total, points = 0.0, []
    for one in rounds:
        total += one["wire"][0] / 1e6
        points.append((one["number"], total))
    numbers, sums = zip(*points, strict=True)
    axes.fill_between(numbers, sums, color=MUTED, alpha=0.25, linewidth=0)
    axes.plot(numbers, sums, color=MUTED, linewidth=1.5)
    axes.set_ylim(bottom=0)
