"""Limits and before/after, as rows a template only has to print."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from netsuke.core.evidence import Evidence, find
from netsuke.core.verdict import Outcome, Verdict
from netsuke.report.record import Record
from netsuke.report.text import (
    LOSSES,
    RATIO_WORDS,
    TITLES,
    UNKNOWN,
    Fact,
    Metric,
    change,
    fact,
    ratio,
    shown,
    source,
)

UNITS = {"size": "B", "memory": "B", "latency_p95": "s", "energy": "J"}
ALWAYS = ("size", "stored", "quality", "latency_p50", "latency_p95", "cpu_p50", "memory")
# Found out about the final artifact alone.
ALONE = ("control", "control_drop", "agreement", "parity_max", "robustness_drop")
# What compares with the original: told beside the figure it belongs to, not in a row of its own.
BESIDE = {"quality": "drop", "cpu_p50": "speedup"}


@dataclass(frozen=True, kw_only=True)
class LimitRow:
    """One limit, or one further check (not ``asked`` for). used: found as a share of the limit in %,
    None if unknown."""

    title: str
    limit: str
    found: Fact
    outcome: Outcome
    reason: str
    used: float | None = None
    asked: bool = True


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One quantity, from one device and one source, before and after."""

    title: str
    before: Fact
    after: Fact
    change: Fact
    samples: str
    source: str


def limit_rows(record: Record, metric: Metric) -> tuple[LimitRow, ...]:
    """Every verdict of the run, limits first; a limit without a verdict is unknown."""
    left = list(record.verdicts)
    rows = []
    for name, limit in record.budget.items():
        verdict = next((v for v in left if _is_about(v, name)), None)
        if verdict:
            left.remove(verdict)
        rows.append(_limit_row(name, limit, verdict, record, metric))
    return (*rows, *(_check_row(verdict, metric) for verdict in left))


def comparisons(record: Record, metric: Metric) -> tuple[Comparison, ...]:
    """The before/after table: what every report shows, then whatever else was found out."""
    before, after = record.baseline.evidence, record.final.evidence
    found = [e.what for e in (*before, *after)]
    told = {*LOSSES, *BESIDE.values(), *ALONE}
    names = [*ALWAYS, *(n for n in dict.fromkeys(found) if n not in (*ALWAYS, *told))]
    return tuple(
        _comparison(name, place, before, after, metric)
        for name in names
        for place in _places(name, (*before, *after))
    )


def further(record: Record, metric: Metric) -> tuple[tuple[str, Fact], ...]:
    """(title, figure): what was found out about the final artifact alone."""
    found = ((name, find(record.final.evidence, name)) for name in ALONE)
    return tuple((TITLES[name], fact(e, metric)) for name, e in found if e)


def remarks(found: Iterable[Evidence], metric: Metric) -> tuple[tuple[str, str], ...]:
    """(which figures, what their notes say), each note once."""
    titles: dict[str, list[str]] = {}
    for evidence in found:
        if evidence.note:
            named = titles.setdefault(evidence.note, [])
            name = title(evidence.what, metric)
            named += [] if name in named else [name]
    return tuple(("; ".join(names), note) for note, names in titles.items())


def title(what: str, metric: Metric) -> str:
    """What a figure is called, ``what`` itself where a plugin brought it."""
    return (
        metric.name[:1].upper() + metric.name[1:]
        if what == "quality"
        else TITLES.get(what, what.replace("_", " "))
    )


def _is_about(verdict: Verdict, limit: str) -> bool:
    """By the evidence it rests on; where it rests on none, by how its reason starts."""
    if verdict.evidence:
        return verdict.evidence[0].what == limit
    words = re.split(r"[^a-z0-9]+", verdict.reason.lower())
    return words[: limit.count("_") + 1] == limit.split("_")


def _limit_row(
    name: str, limit: float, verdict: Verdict | None, record: Record, metric: Metric
) -> LimitRow:
    evidence = _judged(name, verdict, record)
    return LimitRow(
        title=title(name, metric),
        limit=_limit_text(name, limit, metric),
        found=fact(evidence, metric),
        outcome=verdict.outcome if verdict else "unknown",
        reason=verdict.reason if verdict else "not judged",
        used=_used(name, evidence, limit),
    )


def _judged(name: str, verdict: Verdict | None, record: Record) -> Evidence | None:
    """What the verdict rests on; where it carries nothing, nothing was judged."""
    return find(verdict.evidence, name) if verdict else None


def _used(name: str, evidence: Evidence | None, limit: float) -> float | None:
    if evidence is None or name in LOSSES or limit <= 0:
        return None
    return round(100 * evidence.value / limit, 1)


def _limit_text(name: str, limit: float, metric: Metric) -> str:
    if name in LOSSES:
        return (
            f"≥ {change(limit, metric)}"
            if not metric.relative
            else f"at most {change(limit, metric)}"
        )
    return f"≤ {shown(limit, UNITS.get(name, ''))}"


def _check_row(verdict: Verdict, metric: Metric) -> LimitRow:
    evidence = verdict.evidence[0] if verdict.evidence else None
    name = evidence.what if evidence else verdict.check
    return LimitRow(
        title=TITLES.get(verdict.check, title(name, metric)),
        limit="none set",
        found=fact(evidence, metric),
        outcome=verdict.outcome,
        reason=verdict.reason,
        asked=False,
    )


def _places(what: str, found: Iterable[Evidence]) -> list[tuple[str, str] | None]:
    """The (device, source) pairs a quantity was found at; one None where it was nowhere."""
    places = dict.fromkeys((e.device, e.source) for e in found if e.what == what)
    return [*places] or [None]


def _comparison(
    what: str,
    place: tuple[str, str] | None,
    before: tuple[Evidence, ...],
    after: tuple[Evidence, ...],
    metric: Metric,
) -> Comparison:
    old, new = (_at(found, what, place) for found in (before, after))
    beside = find(after, BESIDE[what]) if what in BESIDE else None
    one = new or old
    return Comparison(
        title=title(what, metric),
        before=fact(old, metric),
        after=fact(new, metric),
        change=fact(beside, metric) if what in BESIDE else _plain_change(what, old, new),
        samples=_samples(old, new),
        source=source(one) if one else UNKNOWN,
    )


def _plain_change(what: str, old: Evidence | None, new: Evidence | None) -> Fact:
    """Two times taken apart make no ratio: the speed-up is of calls that took turns."""
    one = new or old
    if one is not None and one.unit == "s" and one.source == "measured":
        return Fact(text="see CPU time")
    comparable = one is None or one.unit == "s" or what in RATIO_WORDS
    return ratio(what, old, new) if comparable else Fact(text="not compared")


def _at(found: tuple[Evidence, ...], what: str, place: tuple[str, str] | None) -> Evidence | None:
    return next((e for e in found if e.what == what and (e.device, e.source) == place), None)


def _samples(old: Evidence | None, new: Evidence | None) -> str:
    found = [fact(e) for e in (old, new) if e]
    counts = dict.fromkeys("none" if f.samples is None else f"{f.samples:,}" for f in found)
    return " / ".join(counts) or UNKNOWN
