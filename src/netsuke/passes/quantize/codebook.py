"""Weights clustered, and the clusters trained."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from torch.fx import GraphModule

from netsuke.core.goal import Goal
from netsuke.core.model import Model, Step
from netsuke.core.passes import Pass, Range
from netsuke.core.scheme import Lookup
from netsuke.nets.fold import fold_batchnorm
from netsuke.nets.quantizers.lookup import lookups
from netsuke.nets.quantizers.roles import op
from netsuke.nets.quantizers.ties import Ties
from netsuke.nets.quantizers.weights import quantize_weights, weights
from netsuke.nets.sparse.zeros import Zeros
from netsuke.nets.training.train import retrain
from netsuke.nets.training.way import Way
from netsuke.passes.quantize.weights import weight_of
from netsuke.passes.training import RetrainingPass

SMALL = 4
"""A weight gets a codebook where it has so many values to each level."""


@dataclass(frozen=True, kw_only=True)
class Codebook(RetrainingPass):
    """Cluster each weight by k-means and train what the clusters stand for (Han et al., 2016).

    Every value of a cluster moves by the cluster's gradient, biases and other parameters train as ever;
    what was pruned is a cluster of its own that stays zero. A model that is clustered already, as by
    ``quantize.weights``, keeps its clusters. It buys bytes of ``model.nsk``, not time. Without training
    data or epochs weights are clustered only.

    bits: a cluster's number has. The rest: as in ``RetrainingPass``.
    """

    name: ClassVar[str] = "quantize.codebook"

    bits: Annotated[int, Range(2, 8)] = 4
    epochs: Annotated[int, Range(0, 1000)] = 3
    lr: Annotated[float, Range(1e-6, 10)] = 0.01
    weight_decay: Annotated[float, Range(0, 1)] = 0.0

    @property
    def asks_device(self) -> bool:
        """The same codes for every device."""
        return False

    def refuse(self, model: Model, goal: Goal) -> str | None:
        """Where no weight is left to cluster, or is worth a codebook."""
        if any(True for _ in lookups(model.network)):
            return (
                None if len(Ties(model.network)) else "its tables are no codebooks that can learn"
            )
        if not self._plan(model):
            return "no weight that is not coded already is large enough for a codebook"
        return None

    def apply(self, model: Model, goal: Goal) -> Model:
        """Raises NetsukeError naming a weight that holds NaN or infinite values."""
        came = any(True for _ in lookups(model.network))
        coded = model.network if came else quantize_weights(model.network, self._plan(model))
        ties = Ties(coded)
        network: GraphModule = coded
        notes: tuple[str, ...] = ("not trained: no training data or no epochs",)
        if goal.data.train is not None and self.epochs:
            plain = ties.loosened(coded)
            way = Way(ties.meet, graded=ties.gather, zeros=Zeros.of(plain))
            teachers = (model.network,) if self.soft else ()
            made = retrain(plain, teachers, goal, self.plan(), way)
            network = ties.coded(made.network, coded)
            before, after = made.scores[0], made.scores[made.best]
            line = (
                f"levels trained {self.epochs} epochs: {goal.data.metric.name} on validate "
                f"{before:.4g} → {after:.4g}, epoch {made.best} kept"
            )
            notes = (line, *made.notes)
        step = Step(
            name=self.name,
            settings=self.settings(),
            summary=f"{len(ties)} weights in codebooks of up to {2**self.bits} levels",
            notes=notes,
        )
        return model.then(network, step)

    def remedies(self) -> tuple[Pass, ...]:
        """More levels; then more training."""
        finer = (replace(self, bits=self.bits + 1),) if self.bits < 8 else ()
        return (*finer, replace(self, epochs=2 * self.epochs)) if self.epochs else finer

    def _plan(self, model: Model) -> dict[str, Lookup]:
        network = fold_batchnorm(model.network)
        scheme = Lookup(table="kmeans", bits=self.bits)
        return {
            name: scheme
            for name, readers in weights(network).items()
            if op(readers[0]) != "embedding"
            and weight_of(network, name).numel() >= SMALL * 2**self.bits
        }
