"""Quantization-aware training."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from torch.fx import GraphModule

from netsuke.core.goal import Goal
from netsuke.core.model import Model, Step
from netsuke.core.passes import Pass, Range
from netsuke.nets.graph import clone, rebuilt
from netsuke.nets.quantizers.activations import halved
from netsuke.nets.quantizers.calibrate import calibrate
from netsuke.nets.quantizers.edges import with_edges
from netsuke.nets.quantizers.lookup import lookups
from netsuke.nets.quantizers.place import Plan, is_quantized, left_float, place
from netsuke.nets.quantizers.qat import deployed, trainable
from netsuke.nets.quantizers.quantizer import BIAS_LIMIT, quantizers
from netsuke.nets.samples import Calibration
from netsuke.nets.training.train import Trained, Way, retrain
from netsuke.passes.quantize.reasons import no_arithmetic, no_kernel
from netsuke.passes.quantize.trained import TrainedPass


@dataclass(frozen=True, kw_only=True)
class Qat(TrainedPass):
    """Train a network while its quantizers simulate low precision (Jacob et al., 2018), their step
    sizes learned with it (LSQ: Esser et al., 2020).

    It starts from the encodings found on ``samples`` of the calibration data, and learns from the
    network as it came (``soft``, ``temperature``; Hinton et al., 2015). BatchNorm stays live while it
    trains and is folded exactly at the end. A model that is quantized already, as by
    ``quantize.mixed``, is trained with the bits it has.

    weights, activations: bits. edge: bits of the first and the last layers and of what they read.
    The rest are those of every trained pass (``TrainedPass``).
    """

    name: ClassVar[str] = "quantize.qat"

    weights: Annotated[int, Range(2, 8)] = 8
    activations: Annotated[int, Range(2, 8)] = 8
    edge: Annotated[int, Range(2, 8)] = 8

    @property
    def asks_device(self) -> bool:
        """The same codes for every device."""
        return False

    def refuse(self, model: Model, goal: Goal) -> str | None:
        """Where there is no training data, nothing to do, or no integer arithmetic."""
        if goal.data.train is None:
            return "needs training data (Task(train=…)); quantize.static needs none"
        reason = _no_steps(model) if is_quantized(model.network) else no_kernel(model)
        return reason or no_arithmetic(goal)

    def apply(self, model: Model, goal: Goal) -> Model:
        """Raises NetsukeError where training or calibration data is missing, or NaN or infinite."""
        float_network, placed = self._start(model, goal)
        prepared = trainable(placed, float_network, model.example)
        trained = self._trained(prepared, float_network, goal)
        network = deployed(trained.network, placed)
        step = Step(
            name=self.name,
            settings=self.settings(),
            summary=f"{self._said(model, placed)}; epoch {trained.best} of {self.epochs}",
            notes=(
                "validation by epoch, from 0: " + ", ".join(f"{s:.4g}" for s in trained.scores),
                *trained.notes,
                *(f"float: {layer} has no integer kernel" for layer in left_float(network)),
            ),
        )
        return model.then(network, step)

    def remedies(self) -> tuple[Pass, ...]:
        """Longer, at a lower rate; then at 8 bits."""
        longer = replace(self, epochs=2 * self.epochs, lr=self.lr / 2)
        wide = replace(self, weights=8, activations=8, edge=8)
        return (longer,) if wide == self else (longer, wide)

    def _said(self, model: Model, placed: GraphModule) -> str:
        """``W4A4, first and last W8A8``; the bits a model came with, where it came quantized."""
        same = self.weights == self.activations == self.edge
        if is_quantized(model.network):
            return bits(placed)
        inner = f"W{self.weights}A{self.activations}"
        return inner if same else f"{inner}, first and last W{self.edge}A{self.edge}"

    def _start(self, model: Model, goal: Goal) -> tuple[GraphModule, GraphModule]:
        """The float network, and the quantized one with its encodings from calibration."""
        if is_quantized(model.network):
            return without_quantizers(model.network), model.network
        inner, edge = Plan.of(self.weights, self.activations), Plan.of(self.edge, self.edge)
        placed = place(model.network, model.example, with_edges(model.network, inner, edge))
        samples = Calibration(model, goal, self.samples)
        calibrate(placed, goal.track(samples, "calibrating"))
        return model.network, placed

    def _trained(self, network: GraphModule, teacher: GraphModule, goal: Goal) -> Trained:
        return retrain(
            network, (teacher,) if self.soft else (), goal, self.plan(), Way(before=self.steady)
        )


def _no_steps(model: Model) -> str | None:
    """Why a quantized model has no step sizes to learn."""
    if any(q.scheme.power_of_two for q in quantizers(model.network) if q.limits[1] != BIAS_LIMIT):
        return "its scales are powers of two, and learned steps would not stay so"
    if any(True for _ in lookups(model.network)) or any(True for _ in halved(model.network)):
        return "its values are rounded to tables or floats, which have no step size to learn"
    return None


def bits(placed: GraphModule) -> str:
    """``W4A4``, or ``W2–8A8`` where layers differ."""
    weights = [q for q in quantizers(placed) if q.constant and q.limits[1] != BIAS_LIMIT]
    values = sorted({q.bits for q in quantizers(placed) if not q.constant})
    return f"W{_range(sorted({q.bits for q in weights}))}A{_range(values)}"


def _range(found: list[int]) -> str:
    return "–".join(map(str, dict.fromkeys((*found[:1], *found[-1:])))) or "32"


def without_quantizers(network: GraphModule) -> GraphModule:
    """A copy that computes in float."""
    network = clone(network)
    for q in list(quantizers(network)):
        q.node.replace_all_uses_with(q.source)
        network.graph.erase_node(q.node)
    return rebuilt(network)
