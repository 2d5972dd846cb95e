"""What a walk looks like in a terminal."""

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from netsuke.advisor.advice import Advice
from netsuke.core.evidence import Evidence, find
from netsuke.core.layer import Layer
from netsuke.core.observer import Observer
from netsuke.core.quantity import show
from netsuke.core.verdict import Verdict
from netsuke.report.explained import explained
from netsuke.report.proposed import proposal_rows, read_proposal

if TYPE_CHECKING:
    from netsuke.layerwise import LayerParity

T = TypeVar("T")
COLOURS = {
    "pass": "green",
    "fail": "red",
    "unknown": "yellow",
    "kept": "green",
    "undone": "red",
    "refused": "yellow",
}


class Terminal(Observer):
    """Prints each step as it is decided, and progress while something is under way.

    Progress goes to the error stream, so that a pipe gets only the result.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.out = Console(highlight=False, quiet=quiet, soft_wrap=True)
        if not self.out.is_terminal:
            # A pipe has no width to keep to: tables stay whole.
            self.out.width = max(self.out.width, 200)
        self._progress = Console(file=sys.stderr, quiet=quiet)
        self._busy = False

    def note(self, text: str) -> None:
        self.out.print(f"  [dim]{escape(text)}[/dim]")

    def baseline(self, evidence: tuple[Evidence, ...]) -> None:
        self.out.print(f"  {'baseline':<17}{'':<9}{_figures(evidence)}")

    def step(self, record: dict[str, Any]) -> None:
        outcome = record["outcome"]
        evidence = tuple(Evidence(**e) for e in record["evidence"])
        mark = f"[{COLOURS[outcome]}]{outcome:<9}[/]"
        figures = _figures(evidence) if evidence else ""
        self.out.print(f"  {record['name']:<17}{mark}{figures}  {record['seconds']:>5.0f} s")
        for text in (record["summary"], record["reason"]):
            if text:
                self.out.print(f"  {'':<17}[dim]{escape(text)}[/dim]")

    def track(self, items: Iterable[T], label: str) -> Iterator[T]:
        # A bar inside a bar would tear the screen: only the outermost shows.
        if self._busy or not self._progress.is_terminal:
            yield from items
            return
        self._busy = True
        columns = (
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeRemainingColumn(),
        )  # fmt: skip
        try:
            with Progress(*columns, console=self._progress, transient=True) as bar:
                yield from bar.track(items, description=f"  {label}")
        finally:
            self._busy = False


def verdict_line(verdict: Verdict) -> str:
    """The verdict in colour, with its reason."""
    return f"[{COLOURS[verdict.outcome]} bold]{verdict.outcome}[/]  {escape(verdict.reason)}"


def headline(record: dict[str, Any]) -> str:
    """What was won, in one line: ``6.7× smaller · 3.7× faster here · −0.3 pt (…)``."""
    before, after = (
        tuple(Evidence(**e) for e in record[k]["evidence"]) for k in ("baseline", "final")
    )
    parts = []
    sizes = find(before, "size"), find(after, "size")
    if sizes[0] and sizes[1]:
        parts.append(f"{sizes[0].value / sizes[1].value:.1f}× smaller")
    if speed := find(after, "speedup", "local"):
        parts.append(f"{speed.value:.1f}× faster here")
    if drop := find(after, "drop"):
        parts.append(f"{_points(-drop.value)} pt{_interval(drop)}")
    if lost := find(after, "control_drop"):
        parts.append(f"{_points(-lost.value)} pt beside the dense control{_interval(lost)}")
    return " · ".join(parts)


def layer_table(layers: Iterable[Layer]) -> Table:
    """Layers with parameters, activations, MACs, and bytes of both at each precision."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("layer", "op", "output"):
        table.add_column(name, no_wrap=True)
    for name in ("parameters", "activations", "MACs", "FP32", "FP16", "INT8", "INT4"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = tuple(layers)
    for layer in rows:
        shape = "×".join(map(str, layer.shape))
        table.add_row(escape(layer.name), layer.op, shape, *_amounts([layer]))
    table.add_section()
    table.add_row("total", "", "", *_amounts(rows), style="bold")
    return table


def parity_table(layers: Iterable["LayerParity"]) -> Table:
    """Layers, simulated and executed: the largest difference, the spread it stands in, agreement."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("layer", no_wrap=True)
    for name in ("largest difference", "spread", "values that agree", "samples"):
        table.add_column(name, justify="right", no_wrap=True)
    for y in layers:
        figures = (show(y.difference, ""), show(y.spread, ""), show(y.agreement, "%"))
        table.add_row(escape(y.name), *figures, str(y.samples))
    return table


def evidence_table(evidence: Iterable[Evidence]) -> Table:
    """Evidence with unit, interval, samples and where it comes from."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("what", "value", "95 %", "samples", "source", "device", "note"):
        table.add_column(name)
    for e in evidence:
        interval = (
            ""
            if e.low is None or e.high is None
            else f"{show(e.low, e.unit)} … {show(e.high, e.unit)}"
        )
        table.add_row(
            e.what,
            show(e.value, e.unit),
            interval,
            str(e.samples),
            e.source,
            e.device,
            escape(e.note),
        )
    return table


def _amounts(layers: Iterable[Layer]) -> list[str]:
    rows = tuple(layers)
    weights, outputs = sum(r.weights for r in rows), sum(r.outputs for r in rows)
    held = [show((weights + outputs) * bits / 8, "B") for bits in (32, 16, 8, 4)]
    return [f"{weights:,}", f"{outputs:,}", f"{sum(r.macs for r in rows):,}", *held]


def _figures(evidence: tuple[Evidence, ...]) -> str:
    """Size, quality and time in aligned columns; what is missing shows as a dash."""
    quality = find(evidence, "quality")
    time = find(evidence, "cpu_p50", "local") or find(evidence, "latency_p50")
    columns = (find(evidence, "size"), quality, time)
    return "".join(f"{show(e.value, e.unit) if e else '–':>11}" for e in columns)


def _points(value: float) -> str:
    # Half a hundredth below nothing is no "−0.00".
    return f"{round(100 * value, 2) + 0.0:+.2f}".replace("-", "−")


def _interval(drop: Evidence) -> str:
    if drop.low is None or drop.high is None:
        return f" ({drop.samples:,} samples)"
    return f" (95 %: {_points(-drop.high)} … {_points(-drop.low)}, {drop.samples:,} samples)"


def print_advice(terminal: Terminal, advice: Advice) -> None:
    """The proposals first, then what speaks for and against each technique, and who says so."""
    out = terminal.out
    for reason in advice.reasons:
        out.print(f"  {escape(reason)}")
    out.print(proposal_table(advice))
    for reason in advice.ruled_out:
        out.print(f"  [dim]ruled out: {escape(reason)}[/dim]")
    for stance, colour in (("for", "green"), ("against", "red")):
        for found in advice.findings:
            if found.stance == stance:
                said = f"[{colour}]{stance}[/] {found.technique}: {escape(found.why)}"
                out.print(f"  {said} [dim]({escape(found.source)})[/dim]")


def proposal_table(advice: Advice) -> Table:
    """A row a proposal: what it is expected to reach and to cost, none of it measured."""
    table = Table(title="\nproposals, in the order to try them (estimated)", title_justify="left", box=None,
                  header_style="bold", pad_edge=False)  # fmt: skip
    table.add_column("", no_wrap=True)
    table.add_column("recipe")
    heads, *rows = proposal_rows([read_proposal(p.to_dict()) for p in advice.proposals])
    for head in heads[2:]:
        table.add_column(head, justify="right", no_wrap=True)
    for number, (title, _, *cells) in enumerate(rows, 1):
        table.add_row(f"{number}.", escape(title), *cells)
    return table


def print_explanation(terminal: Terminal, explanation: dict[str, Any]) -> None:
    """What an explanation says: the layers, worst first, a sentence for each finding, what was tried."""
    seen = explained(explanation)
    assert seen is not None
    out = terminal.out
    out.print(f"  {escape(seen.says)}")
    if seen.rows:
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("layer", no_wrap=True)
        for name in seen.columns:
            table.add_column(name, justify="right", no_wrap=True)
        for name, cells in seen.rows:
            table.add_row(escape(name), *cells)
        out.print(table)
    for line in seen.findings:
        out.print(f"  {escape(line)}")
    for line in seen.recovered:
        out.print(f"  [dim]{escape(line)}[/dim]")
