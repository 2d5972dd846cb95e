"""A record made ready for print: everything a template shows, in words, nothing left to decide."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netsuke.core.evidence import Evidence, find
from netsuke.core.layer import Layer
from netsuke.core.quantity import show
from netsuke.core.verdict import Outcome
from netsuke.report.layers import LayerTable, changes, table
from netsuke.report.points import SizeBar, Walk, missing, size_bars, walk
from netsuke.report.record import Record, StepRun
from netsuke.report.snippet import snippet
from netsuke.report.tables import (
    Comparison,
    LimitRow,
    comparisons,
    further,
    limit_rows,
    remarks,
    title,
)
from netsuke.report.text import TITLES, UNKNOWN, Fact, Metric, fact, placed, ratio, sentence

PROTECTED = "protected"
OWED = ("size", "drop", "latency_p50", "speedup", "quality")


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One headline figure. aside: what it was, and how it changed. captions: where it comes from."""

    label: str
    fact: Fact
    aside: str
    captions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StepView:
    """One step in words. facts: (label, figure), judged on the validation samples. left: it was kept
    on its way, but the final artifact came of another proposal."""

    number: int
    name: str
    settings: tuple[tuple[str, str], ...]
    outcome: str
    remedy: bool
    reason: str
    summary: str
    seconds: str
    changes: tuple[str, ...]
    facts: tuple[tuple[str, Fact], ...]
    remarks: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    protected: int
    proposal: int
    left: bool


@dataclass(frozen=True, kw_only=True)
class View:
    """The whole report."""

    name: str
    device: str
    measured: bool
    created: str
    outcome: Outcome
    sentence: str
    because: tuple[str, ...]
    tiles: tuple[Tile, ...]
    limits: tuple[LimitRow, ...]
    comparisons: tuple[Comparison, ...]
    further: tuple[tuple[str, Fact], ...]
    remarks: tuple[tuple[str, str], ...]
    metric: Metric
    walk: Walk
    sizes: tuple[SizeBar, ...]
    size_limit_at: float | None
    undrawn: tuple[str, ...]
    steps: tuple[StepView, ...]
    layers: LayerTable
    protected: tuple[str, ...]
    findings: tuple[str, ...] | None
    notes: tuple[str, ...]
    reasons: tuple[str, ...]
    proposals: tuple[str, ...]
    ruled_out: tuple[str, ...]
    several: bool
    snippet: str
    commands: str
    seed: str
    hashes: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...]


def view(record: Record) -> View:
    """All a report says. Pure: the same record, the same words."""
    metric = Metric(record.metric, record.metric_unit, record.higher)
    path = walk(record)
    bars, limit_at = size_bars(path)
    artifact = record.final.artifact
    return View(
        name=record.name,
        device=record.device_title,
        measured=record.measured,
        created=_when(record.created),
        outcome=record.verdict.outcome,
        sentence=sentence(record.final.evidence, metric, record.device, path.what),
        because=_because(record),
        tiles=_tiles(record, metric, path.what),
        limits=limit_rows(record, metric),
        comparisons=comparisons(record, metric),
        further=further(record, metric),
        remarks=remarks(record.final.evidence, metric),
        metric=metric,
        walk=path,
        sizes=bars,
        size_limit_at=limit_at,
        undrawn=missing(path),
        steps=_steps(record, metric),
        layers=table(record.baseline.layers, record.final.layers),
        protected=_protected(record),
        findings=artifact.findings if artifact else None,
        notes=record.notes,
        reasons=record.reasons,
        proposals=record.proposals,
        ruled_out=record.ruled_out,
        several=any(step.proposal for step in record.steps),
        snippet=snippet(artifact) if artifact else "",
        commands=_commands(record),
        seed=str(record.seed),
        hashes=tuple(record.hashes.items()),
        environment=_texts(record.environment, UNKNOWN),
    )


def _when(created: str) -> str:
    """``2026-11-21T08:00:00Z`` → ``2026-11-21 08:00 UTC``; anything else as it is."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(:[\d.]+)?(Z|\+00:00)", created)
    return f"{match[1]} {match[2]} UTC" if match else created


def _because(record: Record) -> tuple[str, ...]:
    """Why it is no pass: the reasons of the worst verdicts. Empty for a pass."""
    if record.verdict.outcome == "pass":
        return ()
    worst = [v.reason for v in record.verdicts if v.outcome == record.verdict.outcome]
    return tuple(worst) or (record.verdict.reason,)


def _tiles(record: Record, metric: Metric, timed: str) -> tuple[Tile, ...]:
    before, after = record.baseline.evidence, record.final.evidence
    return (
        _tile("size", find(before, "size"), find(after, "size")),
        _placed_tile(timed, record),
        _quality(before, after, metric),
        _placed_tile("memory", record),
    )


def _placed_tile(what: str, record: Record) -> Tile:
    """The figure on the device asked for, and what was found here beside it."""
    there, here = placed(record.final.evidence, what, record.device)
    was, _ = placed(record.baseline.evidence, what, record.device)
    also = f"{fact(here).text} {here.source} here" if here else ""
    return _tile(what, was, there, also or _refused(what, record.final.evidence))


def _refused(what: str, found: tuple[Evidence, ...]) -> str:
    """Why a latency is missing, where the probe left word."""
    refused = what.startswith("latency") and not find(found, what)
    return next((e.note for e in found if refused and "refused" in e.note), "")


def _tile(what: str, old: Evidence | None, new: Evidence | None, also: str = "") -> Tile:
    # Two times taken apart make no ratio; the speed-up, from calls that took turns, is beside them.
    timed = new is not None and new.unit == "s" and new.source == "measured"
    shift, was = Fact() if timed else ratio(what, old, new), fact(old)
    aside = (
        f"was {was.text}" + (f", {shift.text}" if shift.known else "")
        if was.known
        else "was unknown"
    )
    captions = tuple(text for text in (fact(new).source, also) if text)
    return Tile(label=TITLES[what], fact=fact(new), aside=aside, captions=captions)


def _quality(before: tuple[Evidence, ...], after: tuple[Evidence, ...], metric: Metric) -> Tile:
    old, new = fact(find(before, "quality"), metric), fact(find(after, "quality"), metric)
    drop = fact(find(after, "drop"), metric)
    aside = f"was {old.text}, " + (drop.text if drop.known else f"change {UNKNOWN}")
    samples = f"{new.samples:,} samples" if new.samples is not None else ""
    origin = " · ".join(text for text in (new.source, samples) if text)
    interval = f"95 %: {drop.interval}" if drop.interval else ""
    captions = tuple(text for text in (origin, interval) if text)
    return Tile(label=title("quality", metric), fact=new, aside=aside, captions=captions)


def _steps(record: Record, metric: Metric) -> tuple[StepView, ...]:
    held: dict[int, tuple[Layer, ...]] = {}
    views = []
    for number, step in enumerate(record.steps, 1):
        before = held.get(step.proposal, record.baseline.layers)
        views.append(_step(number, step, changes(before, step.layers or ()), metric))
        if step.outcome == "kept" and step.layers:
            held[step.proposal] = step.layers
    return tuple(views)


def _step(number: int, step: StepRun, changed: tuple[str, ...], metric: Metric) -> StepView:
    protected = [n for n in step.notes if n.startswith(PROTECTED)]
    return StepView(
        number=number,
        name=step.name,
        settings=_texts(step.settings, "none"),
        outcome=step.outcome,
        remedy=step.remedy,
        reason=step.reason,
        summary=step.summary,
        seconds=UNKNOWN if step.seconds is None else show(step.seconds, "s"),
        changes=changed,
        facts=_facts(step.evidence, metric),
        remarks=remarks(step.evidence, metric),
        notes=tuple(n for n in step.notes if n not in protected),
        protected=len(protected),
        proposal=step.proposal + 1,
        left=step.outcome == "kept" and not step.final,
    )


def _facts(found: tuple[Evidence, ...], metric: Metric) -> tuple[tuple[str, Fact], ...]:
    """A step's figures: what every step owes, unknown where it is missing, then the rest."""
    if not found:
        return ()
    owed = [(title(what, metric), fact(None)) for what in OWED if not find(found, what)]
    order = {what: place for place, what in enumerate(OWED)}
    ranked = sorted(found, key=lambda e: order.get(e.what, len(order)))
    return (*((title(e.what, metric), fact(e, metric)) for e in ranked), *owed)


def _protected(record: Record) -> tuple[str, ...]:
    """What the final steps left alone, and why, without their word ``protected``."""
    notes = [n for s in record.steps if s.final for n in s.notes if n.startswith(PROTECTED)]
    return tuple(dict.fromkeys(n.removeprefix(PROTECTED).lstrip(": ") for n in notes))


def _commands(record: Record) -> str:
    """What to type, in the directory the run was made from, to do it again."""
    first = record.command or "# made from Python: the command is unknown"
    again = f"netsuke fit --replay {shlex.quote('PATH/TO/' + record.name)}"
    return f"{first}\n{again}        # the folder of this report"


def _texts(values: Mapping[str, Any], missing: str) -> tuple[tuple[str, str], ...]:
    """Settings and versions as text; ``missing`` is what None and nothing mean among them."""
    return tuple((str(k), _text(v) or missing) for k, v in values.items())


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
