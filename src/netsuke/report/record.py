"""The run record, ``report.json``, read into typed values."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from netsuke.core.artifact import Artifact
from netsuke.core.errors import NetsukeError, NewerRunError
from netsuke.core.evidence import Evidence
from netsuke.core.layer import Layer
from netsuke.core.verdict import Verdict
from netsuke.report.proposed import Proposed, read_proposal

FORMAT = 1
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The original or the final artifact, and what was found out about it."""

    artifact: Artifact | None
    evidence: tuple[Evidence, ...]

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self.artifact.layers if self.artifact else ()


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """What speaks for or against a technique, and who says so."""

    technique: str
    stance: str
    why: str
    source: str


@dataclass(frozen=True, kw_only=True)
class StepRun:
    """One pass as it was tried.

    outcome: "kept", "undone" or "refused". seconds: None if unknown. proposal: which of the advised
    recipes it belongs to, from 0; each starts from the original. final: the final artifact has it.
    """

    name: str
    settings: Mapping[str, Any]
    outcome: str
    reason: str
    seconds: float | None
    summary: str
    notes: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    layers: tuple[Layer, ...] | None
    remedy: bool
    proposal: int
    final: bool


@dataclass(frozen=True, kw_only=True)
class Record:
    """A run, as ``report.json`` holds it. budget: SI limits by name; device: its name and title."""

    name: str
    created: str
    command: str
    seed: int
    verdict: Verdict
    verdicts: tuple[Verdict, ...]
    device: str
    device_title: str
    measured: bool
    budget: Mapping[str, float]
    metric: str
    metric_unit: str
    higher: bool
    notes: tuple[str, ...]
    reasons: tuple[str, ...]
    proposals: tuple[Proposed, ...]
    ruled_out: tuple[str, ...]
    findings: tuple[Spoken, ...]
    next: tuple[str, ...]
    baseline: Stage
    final: Stage
    steps: tuple[StepRun, ...]
    environment: Mapping[str, Any]


def read(path: Path) -> dict[str, Any]:
    """The record in ``path``. Raises NetsukeError naming the file when it is absent, broken or no
    run record, NewerRunError when a newer Netsuke wrote it."""
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf8"))
    except FileNotFoundError as error:
        raise NetsukeError(f"{path}: no such file; give the folder of a finished run") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise NetsukeError(f"{path}: not valid JSON ({error})") from error
    parse(data, str(path))
    return data


def parse(data: Mapping[str, Any], origin: str = "report.json") -> Record:
    """The record in typed form.

    A figure that is null or not finite is left out, so that it reads as unknown. Raises
    NewerRunError for a ``format`` above 1, NetsukeError naming ``origin`` and the field otherwise.
    """
    if not isinstance(data, Mapping):
        raise NetsukeError(f"{origin}: not a run record: it holds no table of fields")
    version = data.get("format")
    if not isinstance(version, int):
        raise NetsukeError(f"{origin}: not a run record: no format number")
    if version > FORMAT:
        raise NewerRunError(
            f"{origin}: format {version} is newer than this Netsuke reads ({FORMAT}); upgrade netsuke"
        )
    return _Reader(data, origin).record()


@dataclass(frozen=True)
class _Reader:
    data: Mapping[str, Any]
    origin: str

    def record(self) -> Record:
        device, metric = self._get("device", dict), self._get("metric", dict)
        return Record(
            **{k: self._get(k, str) for k in ("name", "created", "command")},
            seed=self._get("seed", int),
            verdict=self._get("verdict", _verdict),
            verdicts=self._get("verdicts", _each(_verdict)),
            device=self._get("device", lambda d: str(d["name"])),
            device_title=str(device.get("title", device["name"])),
            measured=self._get("device", lambda d: bool(d["measured"])),
            budget=self._get("budget", lambda d: {k: float(v) for k, v in d.items()}),
            metric=self._get("metric", lambda d: str(d["name"])),
            metric_unit=self._get("metric", lambda d: str(d["unit"])),
            higher=bool(metric.get("higher", True)),
            notes=self._get("notes", _each(str)),
            reasons=self._get("advice", lambda d: _each(str)(d.get("reasons", ()))),
            proposals=self._get("advice", lambda d: _each(read_proposal)(d.get("proposals", ()))),
            ruled_out=self._get("advice", lambda d: _each(str)(d.get("ruled_out", ()))),
            findings=self._get("advice", lambda d: _each(_finding)(d.get("findings", ()))),
            next=_each(lambda d: str(d["why"]))(self.data.get("next", ())),
            baseline=self._get("baseline", _stage),
            final=self._get("final", _stage),
            steps=self._get("steps", _each(_step)),
            environment=self._get("environment", dict),
        )

    def _get(self, field: str, read: Callable[[Any], T]) -> T:
        try:
            return read(self.data[field])
        except KeyError as error:
            inner = "" if error.args[0] == field else f" in {field!r}"
            raise NetsukeError(
                f"{self.origin}: no {error.args[0]!r}{inner}; not a run record"
            ) from error
        except (TypeError, ValueError, AttributeError) as error:
            raise NetsukeError(
                f"{self.origin}: field {field!r} is not as it should be ({error})"
            ) from error


def _each(read: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    return lambda items: tuple(read(item) for item in items)


def _evidence(items: Any) -> tuple[Evidence, ...]:
    return tuple(Evidence(**_bounded(item)) for item in items if _finite(item["value"]))


def _bounded(item: Mapping[str, Any]) -> dict[str, Any]:
    """An interval with an end missing is no interval."""
    ends = (item.get("low"), item.get("high"))
    return {**item} if all(_finite(end) for end in ends) else {**item, "low": None, "high": None}


def _finite(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _verdict(data: Mapping[str, Any]) -> Verdict:
    if data["outcome"] not in ("pass", "fail", "unknown"):
        raise ValueError(f"outcome {data['outcome']!r} is none of pass, fail, unknown")
    return Verdict(
        outcome=data["outcome"],
        check=str(data["check"]),
        reason=str(data["reason"]),
        evidence=_evidence(data["evidence"]),
    )


def _finding(data: Mapping[str, Any]) -> Spoken:
    return Spoken(**{name: str(data[name]) for name in ("technique", "stance", "why", "source")})


def _stage(data: Mapping[str, Any] | None) -> Stage:
    if data is None:
        return Stage(artifact=None, evidence=())
    artifact = data.get("artifact")
    return Stage(
        artifact=Artifact.from_dict(artifact, Path()) if artifact else None,
        evidence=_evidence(data["evidence"]),
    )


def _step(data: Mapping[str, Any]) -> StepRun:
    if data["outcome"] not in ("kept", "undone", "refused"):
        raise ValueError(f"outcome {data['outcome']!r} is none of kept, undone, refused")
    layers, seconds = data.get("layers"), data.get("seconds")
    return StepRun(
        name=str(data["name"]),
        settings=dict(data["settings"]),
        outcome=data["outcome"],
        reason=str(data["reason"]),
        seconds=float(seconds) if _finite(seconds) and seconds is not None else None,
        summary=str(data["summary"]),
        notes=_each(str)(data["notes"]),
        evidence=_evidence(data["evidence"]),
        layers=None if layers is None else tuple(Layer.from_dict(layer) for layer in layers),
        remedy=bool(data.get("remedy", False)),
        proposal=int(data.get("proposal", 0)),
        final=bool(data.get("final", data["outcome"] == "kept")),
    )
