"""The steps of a run in words."""

from dataclasses import dataclass, replace

from netsuke.core.evidence import Evidence, find
from netsuke.core.layer import Layer
from netsuke.core.quantity import show
from netsuke.report.buys import buys
from netsuke.report.layers import changes
from netsuke.report.record import Record, StepRun
from netsuke.report.tables import remarks, title
from netsuke.report.text import UNKNOWN, Fact, Metric, fact, texts

PROTECTED = "protected"
OWED = ("size", "drop", "latency_p50", "speedup", "quality")
ORDER = ("size", "stored", *OWED[1:])


@dataclass(frozen=True, kw_only=True)
class StepView:
    """One step in words. buys: bytes, time, both or neither. facts: (label, figure), judged on the
    validation samples. left: it was kept on its way, but the final artifact came of another proposal.
    """

    number: int
    name: str
    settings: tuple[tuple[str, str], ...]
    outcome: str
    remedy: bool
    reason: str
    summary: str
    seconds: str
    buys: str
    changes: tuple[str, ...]
    facts: tuple[tuple[str, Fact], ...]
    remarks: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    protected: int
    proposal: int
    left: bool


@dataclass(frozen=True, kw_only=True)
class Replaced:
    """What a step started from."""

    layers: tuple[Layer, ...]
    evidence: tuple[Evidence, ...]
    runtime: str


def step_views(record: Record, metric: Metric) -> tuple[StepView, ...]:
    """Every step as it was tried, in order. Pure."""
    held: dict[int, Replaced] = {}
    artifact = record.final.artifact or record.baseline.artifact
    first = Replaced(
        layers=record.baseline.layers,
        evidence=record.baseline.evidence,
        runtime=artifact.runtime if artifact else "its runtime",
    )
    views = []
    for number, step in enumerate(record.steps, 1):
        before = held.get(step.proposal, first)
        views.append(_step(number, step, before, metric))
        if step.outcome == "kept" and step.layers:
            held[step.proposal] = replace(before, layers=step.layers, evidence=step.evidence)
    return tuple(views)


def _step(number: int, step: StepRun, before: Replaced, metric: Metric) -> StepView:
    protected = [n for n in step.notes if n.startswith(PROTECTED)]
    return StepView(
        number=number,
        name=step.name,
        settings=texts(step.settings, "none"),
        outcome=step.outcome,
        remedy=step.remedy,
        reason=step.reason,
        summary=step.summary,
        seconds=UNKNOWN if step.seconds is None else show(step.seconds, "s"),
        buys=buys(before.evidence, step.evidence, before.runtime),
        changes=changes(before.layers, step.layers or ()),
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
    order = {what: place for place, what in enumerate(ORDER)}
    ranked = sorted(found, key=lambda e: order.get(e.what, len(order)))
    return (*((title(e.what, metric), fact(e, metric)) for e in ranked), *owed)
