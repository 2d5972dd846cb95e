"""The plot of latency against quality, as SVG that takes its colours from the page around it."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netsuke.core.errors import NetsukeError
from netsuke.report.points import Point, Walk
from netsuke.report.text import TITLES, Metric, change, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours drawn with, each replaced by the page's own, so that the plot follows light and dark.
COLOURS = {
    "#010101": "var(--ink)",
    "#020202": "var(--muted)",
    "#030303": "var(--line)",
    "#040404": "var(--accent)",
    "#050505": "var(--paper)",
    "#060606": "var(--limit)",
}
INK, MUTED, LINE, ACCENT, PAPER, LIMIT = COLOURS
Spot = tuple[float, float]
SALT = "netsuke"
INCHES, LOW = (5.0, 3.5), (5.0, 3.0)
ROOT = 'role="img" style="stroke-linejoin: round; stroke-linecap: butt"'
HOLLOW = ("undone", "left")
NEAR = 2.2
"""A limit farther out than this times the data's reach is named under the plot, not drawn."""


def trade(walk: Walk) -> str:
    """Inline SVG of the walk: x latency, y change of quality; the same record, the same text.

    Raises NetsukeError where matplotlib is not installed.
    """
    return _svg(INCHES, (0.105, 0.11, 0.875, 0.86), lambda axes: _draw(axes, walk))


@dataclass(frozen=True)
class Labels:
    """What the axes show, in words. notes: limits that lie outside the plot."""

    x: str
    y: str
    notes: tuple[str, ...]


def labels(walk: Walk, metric: Metric) -> Labels:
    """The axes of ``trade(walk)``; its words stand in the page, where any script can be set."""
    near_latency, near_drop = limits_drawn(walk)
    notes = []
    if walk.latency_limit is not None and not near_latency:
        notes.append(f"the latency limit of {shown(walk.latency_limit, 's')} lies beyond the plot")
    if walk.drop_limit is not None and not near_drop:
        notes.append(f"the quality limit of {change(walk.drop_limit, metric)} lies beyond the plot")
    return Labels(
        x=f"{TITLES[walk.what]}, {walk.latency_source} ({scale(walk)[1]})",
        y=f"{metric.name} against the original ({'% better' if metric.relative else 'points'})",
        notes=tuple(notes),
    )


def limits_drawn(walk: Walk) -> tuple[bool, bool]:
    """(latency, drop): whether the limit is near enough to the points to be drawn."""
    slowest = max(p.latency or 0.0 for p in walk.placed)
    lowest = max(-min(p.change or 0.0, p.low or 0.0) for p in walk.placed)
    latency = walk.latency_limit is not None and walk.latency_limit <= NEAR * slowest
    drop = walk.drop_limit is not None and walk.drop_limit <= max(NEAR * lowest, 0.02)
    return latency, drop


def scale(walk: Walk) -> tuple[float, str]:
    """What seconds are divided by on the axis, and the unit that makes."""
    slowest = max(p.latency or 0.0 for p in walk.placed)
    return (1e-6, "µs") if slowest < 1e-3 else (1e-3, "ms") if slowest < 1 else (1.0, "s")


def _draw(axes: "Axes", walk: Walk) -> None:
    unit, _ = scale(walk)
    spots = {
        i: ((p.latency or 0.0) / unit, 100 * (p.change or 0.0))
        for i, p in enumerate(walk.points)
        if p.placed
    }
    _frame(axes, walk, unit)
    for i, (x, y) in spots.items():
        point = walk.points[i]
        _trail(axes, _start(walk, point.after, spots), (x, y), point)
        _interval(axes, point, x)
        _dot(axes, point, x, y)


def _start(walk: Walk, index: int | None, spots: dict[int, Spot]) -> Spot | None:
    """Where the line to a point starts: at the nearest artifact before it that has a place."""
    while index is not None and index not in spots:
        index = walk.points[index].after
    return None if index is None else spots[index]


def _frame(axes: "Axes", walk: Walk, unit: float) -> None:
    from matplotlib.ticker import MaxNLocator

    near_latency, near_drop = limits_drawn(walk)
    xs = [(p.latency or 0.0) / unit for p in walk.placed]
    ys = [100 * v for p in walk.placed for v in (p.change, p.low, p.high) if v is not None]
    if near_latency and walk.latency_limit:
        xs.append(walk.latency_limit / unit)
        axes.axvline(xs[-1], color=LIMIT, linewidth=1, dashes=(4, 3), zorder=1)
    if near_drop and walk.drop_limit is not None:
        ys.append(-100 * walk.drop_limit)
        axes.axhline(ys[-1], color=LIMIT, linewidth=1, dashes=(4, 3), zorder=1)
    axes.axhline(0, color=MUTED, linewidth=0.8, zorder=1)
    room = 0.14 * max(max(ys) - min(ys), 0.2)
    axes.set_xlim(0, 1.08 * max(xs))
    axes.set_ylim(min(ys) - room, max(ys) + room)
    axes.grid(color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=9, labelcolor=MUTED, pad=6)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(lambda v, _: f"{v:+.3g}".replace("-", "−") if v else "0")
    axes.spines[:].set_visible(False)


def _trail(axes: "Axes", start: Spot | None, end: Spot, point: Point) -> None:
    """A line to what the final artifact came of; a dotted one to what was undone or left."""
    if start:
        style: Any = (0, (1, 2.5)) if point.kind in HOLLOW else "-"
        ends = ((start[0], end[0]), (start[1], end[1]))
        axes.plot(*ends, color=ACCENT, linewidth=1.2, linestyle=style, zorder=2)


def _interval(axes: "Axes", point: Point, x: float) -> None:
    if point.low is not None and point.high is not None:
        ends = (100 * point.low, 100 * point.high)
        axes.plot((x, x), ends, color=MUTED, linewidth=1, solid_capstyle="butt", zorder=2)


def _dot(axes: "Axes", point: Point, x: float, y: float) -> None:
    """Filled where the walk goes on, hollow where it was undone; a ring around where it ends."""
    filled = point.kind not in HOLLOW
    colour = INK if point.kind == "original" else ACCENT
    text: Any = {"va": "center_baseline", "fontsize": 8.5, "zorder": 6}
    dot: Any = {"marker": "o", "linestyle": "", "markeredgewidth": 1.4}
    if point.kind == "final":
        axes.plot(
            x, y, markersize=19, markerfacecolor="none", markeredgecolor=colour, zorder=3, **dot
        )
    face, edge = (colour, PAPER) if filled else (PAPER, colour)
    size, layer = (13, 5) if point.mark else (7, 4)
    axes.plot(
        x, y, markersize=size, markerfacecolor=face, markeredgecolor=edge, zorder=layer, **dot
    )
    if point.mark:
        axes.text(x, y, point.mark, ha="center", color=edge, **text)
        return
    far = 13 if point.kind == "final" else 9
    shift: Any = {"xytext": (-far, 9), "textcoords": "offset points"}
    axes.annotate(point.name, (x, y), ha="right", color=colour, **shift, **text)


def graph(draw: Callable[["Axes"], None]) -> str:
    """Inline SVG of what ``draw`` puts on the axes, in the page's colours.

    Raises NetsukeError where matplotlib is not installed.
    """

    def styled(axes: "Axes") -> None:
        draw(axes)
        axes.grid(color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, labelsize=9, labelcolor=MUTED, pad=6)
        axes.spines[:].set_visible(False)

    return _svg(LOW, (0.12, 0.13, 0.86, 0.82), styled)


def _svg(
    inches: Spot, box: tuple[float, float, float, float], draw: Callable[["Axes"], None]
) -> str:
    """What is drawn on axes in this part of a figure; the same drawing gives the same text."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise NetsukeError('report: matplotlib is missing; pip install "netsuke[fit]"') from error
    with matplotlib.rc_context({"svg.hashsalt": SALT, "svg.fonttype": "none"}):
        figure = Figure(figsize=inches)
        draw(figure.add_axes(box))
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return inline(buffer.getvalue())


def inline(svg: str) -> str:
    """SVG that stands in an HTML page: no prolog, namespaces or metadata, the page's font and
    colours, and no style that would reach the page around it."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r"<svg [^>]*>", f'<svg viewBox="{_view_box(svg)}" {ROOT}>', svg, count=1)
    svg = re.sub(r"(font: [^;\"']*px |font-family: )'[^;\"]*", r"\1var(--sans)", svg)
    svg = re.sub(r'(id="|url\(#|href="#)', r"\1trade-", svg)
    for drawn, real in COLOURS.items():
        svg = svg.replace(drawn, real)
    return svg


def _view_box(svg: str) -> str:
    found = re.search(r'viewBox="([\d. ]*)"', svg)
    assert found, "matplotlib writes a viewBox"
    return found[1]
