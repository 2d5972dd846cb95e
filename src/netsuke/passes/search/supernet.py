"""Once for all: one set of weights for a whole space of architectures."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from torch.fx import GraphModule

from netsuke.core.goal import Goal
from netsuke.core.model import Model, Step
from netsuke.core.passes import Pass, Range
from netsuke.nets.channels.groups import Group
from netsuke.nets.channels.rehearsal import parts
from netsuke.nets.elastic.order import ordered
from netsuke.nets.elastic.part import become
from netsuke.nets.training.train import Trained, Way, retrain
from netsuke.passes.prune.criteria import criterion
from netsuke.passes.prune.prices import Prices
from netsuke.passes.prune.protection import unprotected
from netsuke.passes.prune.space import Bounds, Space, movable
from netsuke.passes.search.sampler import Sampler
from netsuke.passes.training import TrainingPass

Teacher = Literal["original", "itself"]


@dataclass(frozen=True, kw_only=True)
class Supernet(TrainingPass):
    """Train the network so that its narrower and shallower parts work as well (Cai et al., 2020,
    "Once-for-all: train one network and specialize it for efficient deployment").

    The network keeps its size. ``search.subnet`` after it takes a part out, as often as there are devices,
    without training. Units are sorted by their worth first; each step trains the whole, the smallest, and
    some parts between (the sandwich rule; Yu and Huang, 2019).

    least: the smallest share of a group's units. depth: of the residual branches that may leave, the smallest
    share that stays; 1 keeps all.
    between: parts a step between the whole and the smallest. opening: the share of the training in which the
    smallest goes from the whole down to ``least``. teacher: the "original", for a network that came trained; or
    the whole teaches its parts "itself", step by step, for one that did not. criterion: by what units are
    sorted (``passes/prune/criteria``). protect: layers, or modules of layers, that stay whole.
    """

    name: ClassVar[str] = "search.supernet"
    epochs: Annotated[int, Range(1, 1000)] = 20
    least: Annotated[float, Range(0.05, 0.95)] = 0.25
    depth: Annotated[float, Range(0, 1)] = 0.5
    between: Annotated[int, Range(0, 16)] = 2
    opening: Annotated[float, Range(0, 1)] = 0.3
    teacher: Teacher = "original"
    criterion: str = "taylor"
    protect: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        criterion(self.criterion)

    @property
    def asks_device(self) -> bool:
        """The same parts for every device but for the widths its kernels like."""
        return True

    def refuse(self, model: Model, goal: Goal) -> str | None:
        """Where there is nothing to train on, or nothing that can leave."""
        if goal.data.train is None:
            return "needs training data (Task(train=…))"
        if not self._space(model, goal).free:
            return "no channel and no branch can leave"
        return None

    def apply(self, model: Model, goal: Goal) -> Model:
        """Raises NetsukeError where a name in ``protect`` is no layer of the model."""
        space = self._space(model, goal)
        known = space.parts.groups
        sorted_, stubborn = ordered(
            model, known, criterion(self.criterion).score(model, known, goal)
        )
        trained = self._trained(sorted_.network, model.network, space, goal)
        groups = sum(isinstance(part, Group) for part in space.free)
        step = Step(
            name=self.name,
            settings=self.settings(),
            summary=f"{groups} widths and {len(space.free) - groups} branches free, epoch {trained.best} of {self.epochs}",
            notes=(
                "the worse of the whole and the smallest on validate, by epoch from 0: "
                + ", ".join(f"{s:.4g}" for s in trained.scores),
                *trained.notes,
                *(
                    f"not sorted: {group.name} (its units are not moved alike)"
                    for group in stubborn
                ),
            ),
        )
        return model.then(trained.network, step)

    def remedies(self) -> tuple[Pass, ...]:
        """Longer; a smaller space."""
        narrower = (replace(self, least=0.5),) if self.least < 0.5 else ()
        return (replace(self, epochs=2 * self.epochs), *narrower)

    def _trained(
        self, network: GraphModule, teacher: GraphModule, space: Space, goal: Goal
    ) -> Trained:
        sampler = Sampler(network, space, self.opening, self.between, goal.seed)
        way = Way(
            before=sampler.before,
            views=(sampler.view(None), sampler.view(sampler.smallest(self.least))),
            each=sampler.step,
            counts=lambda progress: progress >= self.opening,
            inplace=self.teacher == "itself",
        )
        teachers = (teacher,) if self.soft and self.teacher == "original" else ()
        trained = retrain(network, teachers, goal, self.plan(), way)
        become(trained.network, None)
        return trained

    def _space(self, model: Model, goal: Goal) -> Space:
        found = parts(model)
        free = unprotected(found, self.protect, f"{self.name}.protect")
        if self.depth == 1:
            free = tuple(part for part in free if isinstance(part, Group))
        prices = (Prices(model, found.groups, goal.device, "macs"),)
        return movable(found, free, prices, Bounds(self.least, self.depth))
