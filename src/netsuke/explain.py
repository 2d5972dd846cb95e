"""Why a run lost quality: which layers, the likely cause, the remedy, and what the remedy gives back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import netsuke.report
from netsuke import store
from netsuke.core.budget import Budget
from netsuke.core.errors import NetsukeError
from netsuke.core.files import write_json
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.observer import Observer
from netsuke.core.recipe import make_pass
from netsuke.core.task import Task
from netsuke.devices import device as find_device
from netsuke.intake import take_goal

if TYPE_CHECKING:
    from netsuke.nets.quantizers.causes import Finding
    from netsuke.nets.quantizers.diagnose import Facts

FILE = "explanation.json"
NETWORK, FLOAT = "network", "float"
"""The folders of a run that hold its quantized network and, inside, what that was made from."""
SAMPLES, JUDGED = 128, 1000
"""Validation samples for the layers' figures, and for the metric."""
WORST = 3
BATCH = 32
TRIES = 4


def keep(folder: Path, final: Model, source: Model) -> None:
    """Save a quantized network in its run's folder, and the float one it was made from.

    A rounding method may leave nothing of the float weights in the final network, so both are kept.
    """
    from netsuke.nets.quantizers.place import is_quantized
    from netsuke.nets.save import save

    if is_quantized(final.network):
        save(final, folder / NETWORK)
        save(source, folder / NETWORK / FLOAT)


def explain(
    run: store.Run, task: Task, observer: Observer | None = None, tries: bool = False
) -> dict[str, Any]:
    """What quantization did to each layer of a run, worst first, and why; also written to the run's
    ``explanation.json`` and its report.

    task: its validation data is measured on, its calibration data is what remedies use. tries: apply
    the remedies and measure what they give back, on the validation data, in simulation.
    Raises NetsukeError where the run's networks are damaged or do not take the data.
    """
    observer = observer or Observer()
    goal = take_goal(task, find_device("local"), Budget(), run.record["seed"], observer)
    if not (run.folder / NETWORK).is_dir():
        return _written(run, {"says": _unquantized(run), "layers": [], "findings": []})
    return _written(run, _Explaining.of(run, goal).explanation(tries))


def _unquantized(run: store.Run) -> str:
    quantized = any(s["final"] and s["name"].startswith("quantize.") for s in run.record["steps"])
    if quantized:
        return "the run does not hold its quantized network; fit it again to have it explained"
    return "nothing to explain: no step of this run quantized anything"


def _written(run: store.Run, found: dict[str, Any]) -> dict[str, Any]:
    explanation = {"format": 1, "run": run.record["name"], **found}
    write_json(run.folder / FILE, explanation)
    netsuke.report.write(run.record, run.folder)
    return explanation


@dataclass(frozen=True)
class _Explaining:
    """A run's networks, its data, and the pass that quantized it."""

    quantized: Model
    source: Model
    goal: Goal
    step: Mapping[str, Any]

    @staticmethod
    def of(run: store.Run, goal: Goal) -> "_Explaining":
        from netsuke.nets.save import load

        quantized = load(run.folder / NETWORK)
        done = [s for s in quantized.lineage if s.name.startswith("quantize.")]
        step = {"use": done[-1].name, **done[-1].settings} if done else {"use": ""}
        return _Explaining(quantized, load(run.folder / NETWORK / FLOAT), goal, step)

    def explanation(self, tries: bool) -> dict[str, Any]:
        from netsuke.nets.quantizers.causes import findings

        before, after = self._quality(self.source), self._quality(self.quantized)
        facts = sorted(self._facts(), key=lambda f: -f.share)
        found = [f for each in facts for f in findings(each, self.step, self._samples)]
        metric = self.goal.data.metric
        return {
            "says": _says(facts, found, self._lost(before, after)),
            "metric": {"name": metric.name, "unit": metric.unit},
            "quality": {"float": before, "quantized": after, "samples": self._judged},
            "samples": min(SAMPLES, len(self.goal.data.validate)),
            "step": dict(self.step),
            "layers": [_row(f) for f in facts],
            "findings": [f.to_dict() for f in found],
            "relief": self._relief(facts, after),
            "tried": self._tried(found, after) if tries else [],
        }

    def _lost(self, before: float, after: float) -> str:
        metric = self.goal.data.metric
        unit = "points" if metric.unit == "%" else "%"
        change = f"{100 * metric.drop(before, after):.1f}".replace("-", "−")
        return f"{change} {unit} of {metric.name}"

    @property
    def _samples(self) -> int:
        there = len(self.goal.data.calibrate)
        return min(int(self.step.get("samples", there)), there)

    @property
    def _judged(self) -> int:
        return min(JUDGED, len(self.goal.data.validate))

    def _facts(self) -> "tuple[Facts, ...]":
        import torch

        from netsuke.nets.distillation.losses import soft_loss
        from netsuke.nets.evaluation import some_batches
        from netsuke.nets.quantizers.diagnose import diagnose

        batches = [
            part
            for inputs, _ in some_batches(self.goal.data.validate, SAMPLES)
            for part in zip(*(torch.split(t, BATCH) for t in inputs), strict=True)
        ]
        loss = soft_loss(self.goal.data, 1.0)
        return diagnose(self.quantized.network, self._floats(), batches, loss)

    def _floats(self) -> dict[str, Any]:
        from netsuke.nets.fold import fold_batchnorm
        from netsuke.nets.graph import tensors

        return dict(tensors(fold_batchnorm(self.source.network)))

    def _quality(self, model: Model) -> float:
        from netsuke.nets.evaluation import evaluate

        return evaluate(model.network, self.goal.data.validate, self.goal.data.metric, JUDGED)

    def _relief(self, facts: "Sequence[Facts]", after: float) -> list[dict[str, Any]]:
        """What comes back with each of the worst parts left in float."""
        from netsuke.nets.quantizers.causes import MATTERS
        from netsuke.nets.quantizers.parts import without

        floats, rows = self._floats(), []
        worst = [f.name for f in facts[:WORST] if f.share >= MATTERS]
        for name in self.goal.track(worst, "leaving layers in float"):
            freed = without(self.quantized.network, [name], floats)
            quality = self._quality(self.quantized.then(freed, self.quantized.lineage[-1]))
            rows.append({"layer": name, **self._given(quality, after)})
        return rows

    def _tried(self, found: "Iterable[Finding]", after: float) -> list[dict[str, Any]]:
        """The remedies of the worst findings, applied to the float network and measured."""
        recipes = dict.fromkeys(
            tuple(tuple(sorted(step.items())) for step in recipe)
            for f in found
            for recipe in f.tries
        )
        kept = list(recipes)[:TRIES]
        return [
            self._try([dict(step) for step in recipe], after)
            for recipe in self.goal.track(kept, "trying remedies")
        ]

    def _try(self, recipe: list[dict[str, Any]], after: float) -> dict[str, Any]:
        model = self.source
        try:
            for step in recipe:
                made = make_pass(step["use"], {k: v for k, v in step.items() if k != "use"})
                if refusal := made.refuse(model, self.goal):
                    raise NetsukeError(refusal)
                model = made.apply(model, self.goal)
        except NetsukeError as error:
            return {"recipe": recipe, "refused": str(error)}
        quality = self._quality(model)
        return {"recipe": recipe, **self._given(quality, after)}

    def _given(self, quality: float, after: float) -> dict[str, Any]:
        """A quality, and how much better it is than the quantized network's."""
        metric = self.goal.data.metric
        recovered = metric.drop(quality, after)
        return {"quality": quality, "recovered": recovered, "unit": metric.unit}


def _says(facts: "Sequence[Facts]", found: "Sequence[Finding]", lost: str) -> str:
    worst = facts[0]
    cause = next((f.cause for f in found if f.layer == worst.name), "")
    why = f"likely cause: {cause}" if cause else "nothing is plainly wrong with it"
    return (
        f"quantization costs {lost}; {worst.name} does {worst.share:.0%} of the harm that layers do"
        f" alone, {why}"
    )


def _row(facts: "Facts") -> dict[str, Any]:
    """A layer's facts as JSON can hold them: lists of channels as their spread."""
    row = asdict(facts)
    for name in ("channels", "weights", "inputs", "columns"):
        live = sorted(v for v in row.pop(name) if v > 0)
        row[f"{name}_spread"] = live[-1] / live[len(live) // 2] if live else None
    return {k: None if v == float("inf") else v for k, v in row.items()}
