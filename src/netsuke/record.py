"""A finished walk written down: the run's record, its files, its manifest."""

import os
import platform
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from netsuke.advisor.advice import Advice
from netsuke.advisor.after import after
from netsuke.core.artifact import sha256, widths_beside
from netsuke.core.evidence import find
from netsuke.core.files import beside, write_json, write_text
from netsuke.core.goal import Goal
from netsuke.core.recipe import Recipe, make_pass
from netsuke.core.verdict import Verdict, combine
from netsuke.packer import pack
from netsuke.report import write as write_report
from netsuke.store import FORMAT, Run
from netsuke.workbench import State

FEDERATED = "federate"
"""The step that is no pass: rounds over clients that keep their data."""
PACKAGES = ("netsuke", "torch", "onnx", "onnxscript", "onnxruntime", "numpy")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a run came from. command: what a person types to do it again. workload and model: the
    workload's file and, where the model is not the workload's, its ``.onnx`` file."""

    command: str = ""
    workload: str = ""
    model: str = ""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """All that a record is made of. chosen: the proposal whose steps led to the final state."""

    goal: Goal
    original: State
    final: State
    verdicts: tuple[Verdict, ...]
    trials: tuple[dict[str, Any], ...] = ()
    chosen: int = 0
    advice: Advice | None = None

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The trials, each with whether it led to the final state."""
        return [
            {**t, "final": t["outcome"] == "kept" and t.get("proposal", 0) == self.chosen}
            for t in self.trials
        ]


def write_run(folder: Path, finished: Finished, origin: Origin) -> Run:
    """Write every file of a run, the manifest last; a folder with a manifest is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for state, name in ((finished.original, "baseline.onnx"), (finished.final, "model.onnx")):
        with beside(folder / name) as draft:
            shutil.copyfile(state.artifact.path, draft)
        if widths_beside(state.artifact.path).exists():
            shutil.copyfile(widths_beside(state.artifact.path), widths_beside(folder / name))
    if find(finished.final.evidence, "stored"):
        pack(folder / "model.onnx", folder / "model.nsk")
    record = make_record(folder, finished, origin)
    write_text(folder / "recipe.toml", _recipe(record["steps"]))
    evidence = {"baseline": record["baseline"]["evidence"], "final": record["final"]["evidence"]}
    write_json(folder / "evidence.json", evidence)
    write_report(record, folder)
    write_json(folder / "manifest.json", _manifest(folder, record))
    return Run(folder, record)


def make_record(folder: Path, finished: Finished, origin: Origin) -> dict[str, Any]:
    """The record of a run, as ``report.json`` holds it (format 1)."""
    goal = finished.goal
    device, metric = goal.device, goal.data.metric
    record: dict[str, Any] = {
        "format": FORMAT,
        "name": folder.name,
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **asdict(origin),
        "seed": goal.seed,
        "verdict": combine(finished.verdicts).to_dict(),
        "verdicts": [v.to_dict() for v in finished.verdicts],
        "device": asdict(device),
        "budget": goal.budget.limits(),
        "metric": {"name": metric.name, "unit": metric.unit, "higher": metric.higher},
        "notes": list(goal.data.notes),
        "advice": finished.advice.to_dict() if finished.advice else {"reasons": []},
        "baseline": _point(finished.original, "baseline.onnx"),
        "final": _point(finished.final, "model.onnx"),
        "steps": finished.steps,
        "environment": environment(),
    }
    return record | {"next": [found.to_dict() for found in after(record)]}


def environment() -> dict[str, Any]:
    """Versions and the machine, for the record; a package that is not installed is left out."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _point(state: State, name: str) -> dict[str, Any]:
    artifact = {**state.artifact.to_dict(), "path": name}
    return {"artifact": artifact, "evidence": [e.to_dict() for e in state.evidence]}


def _recipe(steps: list[dict[str, Any]]) -> str:
    """The passes that were kept, as a recipe that does the same again."""
    final = [s for s in steps if s["final"]]
    kept = [make_pass(s["name"], s["settings"]) for s in final if s["name"] != FEDERATED]
    if not final:
        return "# no step was kept: model.onnx is the original\n"
    told = "# trained by netsuke federate first\n" if len(kept) < len(final) else ""
    return told + (Recipe(*kept).to_toml() if kept else "")


def _manifest(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    passing = ("progress.json", "manifest.json")
    files = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name not in passing)
    return {
        "format": FORMAT,
        "name": record["name"],
        "created": record["created"],
        "seed": record["seed"],
        "files": {n: sha256(folder / n) for n in files if n[0] != "."},
        "lineage": [
            {
                "name": s["name"],
                "settings": s["settings"],
                "summary": s["summary"],
                "clock": s["clock"],
                "kernels": s.get("kernels", {}),
            }
            for s in record["steps"]
            if s["final"]
        ],
        "versions": record["environment"],
    }


def _cpu() -> str:
    """The processor's name, with what makes it fast."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    flags = set(facts.get("flags", facts.get("Features", "")).split())
    known = [f for f in ("avx2", "avx512f", "avx512_vnni", "asimddp") if f in flags]
    name = facts.get("model name", platform.machine())
    return f"{name} ({', '.join(known)})" if known else name
