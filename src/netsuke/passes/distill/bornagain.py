"""By itself, again and again (Furlanello et al., 2018, "Born-again neural networks")."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from netsuke.core.goal import Goal
from netsuke.core.model import Model, Step
from netsuke.core.passes import Pass, Range
from netsuke.nets.fresh import fresh
from netsuke.nets.quantizers.place import is_quantized
from netsuke.nets.training.train import Trained, retrain
from netsuke.passes.distill.students import teachers_of
from netsuke.passes.training import TrainingPass


@dataclass(frozen=True, kw_only=True)
class BornAgain(TrainingPass):
    """The same architecture, drawn anew, is taught by the network, and teaches the next.

    The first generation learns from the task's teachers where there are any. The best of all, on validate, is
    kept, the network as it came among them. generations: how many are taught. The rest: as in ``TrainingPass``.
    """

    name: ClassVar[str] = "distill.bornagain"
    generations: Annotated[int, Range(1, 100)] = 1
    epochs: Annotated[int, Range(0, 1000)] = 12
    lr: Annotated[float, Range(1e-6, 10)] = 0.1

    @property
    def asks_device(self) -> bool:
        """The same generations for every device."""
        return False

    def refuse(self, model: Model, goal: Goal) -> str | None:
        if goal.data.train is None:
            return "there is no training data to learn from"
        return "its values are quantized already; distil before" if is_quantized(model.network) else None  # fmt: skip

    def apply(self, model: Model, goal: Goal) -> Model:
        teachers, names = teachers_of(model, goal)
        found: list[Trained] = []
        for number in range(self.generations):
            born = fresh(model.network, goal.seed + number)
            found.append(retrain(born, teachers, goal, self.plan()))
            teachers = (found[-1].network,)
        metric = goal.data.metric
        scores = [made.scores[made.best] for made in found]
        best = (max if metric.higher else min)(range(len(found)), key=lambda i: scores[i])
        said = ", ".join(f"{score:.4g}" for score in scores)
        step = Step(
            name=self.name, settings=self.settings(),
            summary=f"generation {best + 1} of {self.generations}, drawn anew and taught",
            notes=(f"taught by {names}", f"{metric.name} on validate, by generation: {said}",
                   *(note for made in found for note in made.notes)),
        )  # fmt: skip
        return model.then(found[best].network, step)

    def remedies(self) -> tuple[Pass, ...]:
        """Longer lessons."""
        return (replace(self, epochs=2 * self.epochs),) if self.epochs else ()
