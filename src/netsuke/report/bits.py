"""Mixed precision in the report: what each layer suffers from few bits, what it got, and the curve of
bytes against quality."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netsuke.core.quantity import show
from netsuke.report.plot import ACCENT, INK, PAPER, graph

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHADES = (1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12)


@dataclass(frozen=True, kw_only=True)
class Bits:
    """One step that chose bits. head: of the table; rows: layer by layer. harms, curve: inline SVG, empty
    where there is nothing to draw."""

    step: str
    measure: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    harms: str
    curve: str
    curve_note: str


def chosen_bits(record: Mapping[str, Any], drawn: bool) -> tuple[Bits, ...]:
    """Every final step whose table holds bits. drawn: with plots, which need matplotlib."""
    metric = record["metric"]
    return tuple(
        _bits(step["name"], step["table"], metric, drawn)
        for step in record["steps"]
        if step.get("final", True) and (step.get("table") or {}).get("kind") == "bits"
    )


def _bits(name: str, table: Mapping[str, Any], metric: Mapping[str, Any], drawn: bool) -> Bits:
    choices = [str(b) for b in table["choices"]]
    rows = tuple(
        (
            row["layer"], f"{row['elements']:,}", _width(row["bits"]),
            *(f"{row['harms'][c]:.2g}" for c in choices),
        )
        for row in table["layers"]
    )  # fmt: skip
    points = table["curve"]
    note = (
        f"{metric['name']} on at most {table['judged']:,} validation samples, weights rounded to the"
        f" nearest, activations in float; in float throughout {show(table['float'], metric['unit'])}"
        if points
        else ""
    )
    return Bits(
        step=name,
        measure=table["sensitivity"],
        head=("layer", "weights", "bits", *(f"at {_width(int(c))}" for c in choices)),
        rows=rows,
        harms=graph(lambda axes: _draw_harms(axes, table)) if drawn else "",
        curve=graph(lambda axes: _draw_curve(axes, table, metric)) if drawn and points else "",
        curve_note=note,
    )


def _width(bits: int) -> str:
    return "float" if bits == 32 else str(bits)


def _draw_harms(axes: "Axes", table: Mapping[str, Any]) -> None:
    """A line for each number of bits, over the layers in order; a dot where the layer ended up."""
    from matplotlib.ticker import MaxNLocator

    places = range(1, len(table["layers"]) + 1)
    for shade, bits in zip(SHADES, table["choices"], strict=False):
        harms = [max(row["harms"][str(bits)], 1e-9) for row in table["layers"]]
        axes.plot(places, harms, color=ACCENT, linewidth=1.2, alpha=shade)
    ends = [max(row["harms"][str(row["bits"])], 1e-9) for row in table["layers"]]
    dots: Any = {"marker": "o", "linestyle": "", "markersize": 5}
    axes.plot(places, ends, color=INK, **dots)
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_curve(axes: "Axes", table: Mapping[str, Any], metric: Mapping[str, Any]) -> None:
    """Quality over kB of weights: filled mixed, hollow the same bits everywhere."""
    factor = 100 if metric["unit"] == "%" else 1
    for uniform, face, line in ((True, PAPER, ":"), (False, ACCENT, "-")):
        points = sorted((p["bytes"] / 1000, factor * p["quality"]) for p in table["curve"]
                        if p["uniform"] is uniform)  # fmt: skip
        edge = INK if uniform else ACCENT
        look: Any = {"marker": "o", "markersize": 6, "linewidth": 1.2, "color": edge}
        axes.plot(*zip(*points, strict=True), linestyle=line, markerfacecolor=face, **look)
