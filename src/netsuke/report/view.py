"""A record made ready for print: everything a template shows, in words, nothing left to decide."""

import re
import shlex
from dataclasses import dataclass

from netsuke.core.evidence import Evidence, find
from netsuke.core.verdict import Outcome
from netsuke.report.layers import LayerTable, table
from netsuke.report.points import SizeBar, Walk, missing, size_bars, walk
from netsuke.report.proposed import proposal_rows
from netsuke.report.record import Record, Spoken
from netsuke.report.snippet import snippet
from netsuke.report.steps import PROTECTED, StepView, step_views
from netsuke.report.tables import (
    Comparison,
    LimitRow,
    comparisons,
    further,
    limit_rows,
    remarks,
    title,
)
from netsuke.report.text import TITLES, UNKNOWN, Fact, Metric, fact, placed, ratio, sentence, texts


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One headline figure. aside: what it was, and how it changed. captions: where it comes from."""

    label: str
    fact: Fact
    aside: str
    captions: tuple[str, ...]


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
    proposals: tuple[tuple[str, ...], ...]
    ruled_out: tuple[str, ...]
    spoken: tuple[Spoken, ...]
    next: tuple[str, ...]
    several: bool
    snippet: str
    stored: bool
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
        steps=step_views(record, metric),
        layers=table(record.baseline.layers, record.final.layers),
        protected=_protected(record),
        findings=artifact.findings if artifact else None,
        notes=record.notes,
        reasons=record.reasons,
        proposals=proposal_rows(record.proposals),
        ruled_out=record.ruled_out,
        spoken=tuple(sorted(record.findings, key=lambda f: f.stance == "against")),
        next=record.next,
        several=any(step.proposal for step in record.steps),
        snippet=snippet(artifact) if artifact else "",
        stored=find(record.final.evidence, "stored") is not None,
        commands=_commands(record),
        seed=str(record.seed),
        hashes=((artifact.path.name, artifact.sha256),) if artifact else (),
        environment=texts(record.environment, UNKNOWN),
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


def _protected(record: Record) -> tuple[str, ...]:
    """What the final steps left alone, and why, without their word ``protected``."""
    notes = [n for s in record.steps if s.final for n in s.notes if n.startswith(PROTECTED)]
    return tuple(dict.fromkeys(n.removeprefix(PROTECTED).lstrip(": ") for n in notes))


def _commands(record: Record) -> str:
    """What to type, in the directory the run was made from, to do it again."""
    first = record.command or "# made from Python: the command is unknown"
    again = f"netsuke fit --replay {shlex.quote('PATH/TO/' + record.name)}"
    return f"{first}\n{again}        # the folder of this report"
