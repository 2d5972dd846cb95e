"""What all distillation shares: who the student is, who its teachers are, and the training."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from torch.fx import GraphModule

from netsuke.core.choices import Settled
from netsuke.core.goal import Goal
from netsuke.core.model import Model, Step
from netsuke.core.passes import Pass, Range
from netsuke.nets.distillation.losses import Answering
from netsuke.nets.distillation.method import Method
from netsuke.nets.quantizers.place import is_quantized
from netsuke.nets.training.plan import TrainPlan
from netsuke.nets.training.train import retrain
from netsuke.passes.distill.students import Student, made, start_of, teachers_of
from netsuke.passes.distill.tune import Tuning, tuned
from netsuke.passes.training import TrainingPass


@dataclass(frozen=True, kw_only=True)
class Distill(TrainingPass):
    """A pass that trains a student to answer as its teachers do (Hinton et al., 2015).

    Teachers are those of the task (``Task(teachers=…)``), several count alike; without any, the network as
    it came. student: a "narrow" copy of the network, the "same", or the task's "own" (``Task(student=…)``).
    start: whether a copy keeps its "teacher"'s weights or is drawn "fresh". ratio, cost: what a narrow copy
    has less, MACs, parameters, bytes or seconds; ratio = 0 takes what the budget's size and latency ask.
    choices: of an own student that is a function of them, as in "width=32"; what is not chosen is the largest.
    pairs: modules whose values are compared, as in "layer3=stage4", the student's first; by the shapes of what
    is traced where none is named. answers: what outputs say, scores of "classes", of "tokens" (which come
    last), or "values"; "auto" goes by the metric. tune: the share of the training that each of 8 rehearsals
    (13 of a narrow student) gets, by which temperature and soft are chosen; 0 takes them as they are. The
    rest: as in ``TrainingPass``.
    """

    student: Student = "narrow"
    start: Literal["teacher", "fresh"] = "teacher"
    ratio: Annotated[float, Range(0, 0.95)] = 0.5
    cost: Literal["seconds", "macs", "parameters", "bytes"] = "macs"
    choices: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    answers: Answering = "auto"
    tune: Annotated[float, Range(0, 1)] = 0.0
    epochs: Annotated[int, Range(0, 1000)] = 12

    def __post_init__(self) -> None:
        super().__post_init__()
        Settled(self.choices)

    @abstractmethod
    def method(self) -> Method: ...

    @property
    def asks_device(self) -> bool:
        """Where a narrow copy is cut by time, or to the budget."""
        return self.student == "narrow" and (self.cost == "seconds" or not self.ratio)

    def plan(self) -> TrainPlan:
        return replace(super().plan(), pairs=self.pairs, answers=self.answers)

    def refuse(self, model: Model, goal: Goal) -> str | None:
        """Without training data, of quantized networks, and where the student would be its own teacher."""
        if goal.data.train is None:
            return "there is no training data to learn from"
        if is_quantized(model.network):
            return "its values are quantized already; distil before"
        if self.student == "own" and goal.data.student is None:
            return 'student = "own", and the task names none: Task(student=…)'
        alone = not goal.data.teachers and self.start == "teacher"
        if self.student == "same" and alone:
            return 'the student would be its own teacher: take start = "fresh", or Task(teachers=…)'
        return start_of(self, model, goal).refused

    def apply(self, model: Model, goal: Goal) -> Model:
        """Raises NetsukeError where a teacher does not answer like the student, takes other inputs, or has
        nothing of one size with it to compare."""
        teachers, names = teachers_of(model, goal)
        student, said = made(self, model, goal)
        tuning = self._tuned(model, student, teachers, goal)
        trained = retrain(student.network, teachers, goal, tuning.plan)
        chosen = (tuning.said(goal.data.metric.name),) if tuning.trials else ()
        told = f"{self.epochs} epochs: {trained.told(goal.data.metric)}"
        notes = (*said, f"taught by {names}", *chosen, told, *trained.notes)
        step = Step(
            name=self.name, settings=self.settings(), summary=said[0], notes=notes,
            table={"scores": list(trained.scores)} | (tuning.table() if tuning.trials else {}),
        )  # fmt: skip
        return replace(student, name=model.name, lineage=model.lineage).then(trained.network, step)

    def _tuned(
        self, model: Model, student: Model, teachers: tuple[GraphModule, ...], goal: Goal
    ) -> Tuning:
        """As set, or by rehearsals: of the student, and of a narrow one's wider sister, for the report."""
        if not (self.tune and self.epochs):
            return Tuning(self.plan(), ())
        students = [student.network]
        if self.student == "narrow" and self.ratio > 0.1:
            wider = replace(self, ratio=self.ratio / 2)
            students.append(made(wider, model, goal)[0].network)
        return tuned(students, teachers, goal, self.plan(), self.tune)

    def remedies(self) -> tuple[Pass, ...]:
        """A student less narrow; then longer lessons."""
        wider = (replace(self, ratio=round(self.ratio * 0.6, 3)),) if self.ratio else ()
        return (*wider, replace(self, epochs=2 * self.epochs)) if self.epochs else wider
