"""What a study leaves behind: the front as runs, measured on the test data, and a page that shows it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from netsuke import store
from netsuke.core.budget import Budget
from netsuke.core.errors import NetsukeError
from netsuke.core.evidence import Evidence
from netsuke.core.files import write_json, write_text
from netsuke.core.model import Model
from netsuke.core.recipe import Recipe, read_recipe
from netsuke.core.verdict import combine
from netsuke.fitting import judge, measured
from netsuke.gate import Trial
from netsuke.record import Origin, write_run
from netsuke.report.studied import page
from netsuke.study.front import Found
from netsuke.study.laboratory import Laboratory, exceeded
from netsuke.study.studies import Study

FILE, PAGE = "study.json", "study.html"
FORMAT = 1


def write_front(study: Study, laboratory: Laboratory, origin: Origin) -> tuple[store.Run, ...]:
    """Every trial of the front as a run in ``front/NUMBER``, and ``study.json`` beside them.

    Those that were written before are left as they are. The test data is read here and nowhere else.
    """
    found = study.front()
    runs = tuple(_run(one, study.folder / "front" / str(one.number), laboratory, origin)
                 for one in laboratory.bench.goal.track(found, "measuring the front"))  # fmt: skip
    judged = [
        {**one.to_dict(), "folder": str(run.folder.relative_to(study.folder)),
         "verdict": run.record["verdict"], "evidence": run.record["final"]["evidence"]}
        for one, run in zip(found, runs, strict=True)
    ]  # fmt: skip
    data = _data(study, laboratory, judged)
    write_json(study.folder / FILE, data)
    write_text(study.folder / PAGE, page(data, study.folder.name))
    return runs


def write_page(study: Study, laboratory: Laboratory) -> None:
    """The page of a study under way: nothing of its front is a run yet."""
    rows = [one.to_dict() for one in study.front()]
    write_text(study.folder / PAGE, page(_data(study, laboratory, rows), study.folder.name))


def _data(study: Study, laboratory: Laboratory, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "device": laboratory.bench.goal.device.name,
        "objectives": list(laboratory.objectives),
        "baseline": [e.to_dict() for e in laboratory.original.evidence],
        "trials": [asdict(one) | {"values": dict(one.values)} for one in study.found],
        "over": study.count,
        "spent": study.spent,
        "front": rows,
    }


def read_study(folder: Path) -> dict[str, Any]:
    """What ``write_front`` wrote. Raises NetsukeError naming the file."""
    path = folder / FILE
    try:
        data = json.loads(path.read_text(encoding="utf8"))
    except FileNotFoundError as error:
        raise NetsukeError(f"{path}: no such file; give the folder of a study that has ended") from error  # fmt: skip
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise NetsukeError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT or "front" not in data:
        raise NetsukeError(f"{path}: not a study of this version")
    return data


def pick(study: Mapping[str, Any], budget: Budget) -> list[dict[str, Any]]:
    """The runs of the front, judged by other limits, without new work: those that pass come first, then by the
    first objective; of those that do not, the nearest first."""
    judged = []
    for one in study["front"]:
        evidence = tuple(Evidence(**e) for e in one["evidence"])
        verdict = combine(judge(evidence, budget, study["device"]))
        over = exceeded(evidence, budget, study["device"])
        judged.append({**one, "verdict": verdict.to_dict(), "over": over})
    ranks = {"pass": 0, "unknown": 1, "fail": 2}
    first = study["objectives"][0]
    return sorted(
        judged,
        key=lambda one: (ranks[one["verdict"]["outcome"]], max(one["over"], 0.0), one["values"][first]),
    )  # fmt: skip


def _run(one: Found, folder: Path, laboratory: Laboratory, origin: Origin) -> store.Run:
    if (folder / "manifest.json").is_file():
        return store.open_run(folder)
    recipe = read_recipe(one.recipe) if one.recipe else Recipe()
    state = laboratory.carve(recipe)
    finished = measured(laboratory.bench, laboratory.original, state)
    steps = _steps(recipe, laboratory.original.model, state.model)
    return write_run(folder, replace(finished, trials=steps), origin)


def _steps(recipe: Recipe, before: Model, after: Model) -> tuple[dict[str, Any], ...]:
    """The passes as entries of a record; each was measured with those behind it, not on its own."""
    made = after.lineage[len(before.lineage) :]
    return tuple(
        Trial(tried=wanted, outcome="kept", reason="one of a trial's passes, measured at its end", seconds=0.0).to_dict()
        | {"summary": step.summary, "notes": list(step.notes), "table": dict(step.table), "proposal": 0}
        for wanted, step in zip(recipe, made, strict=True)
    )  # fmt: skip
