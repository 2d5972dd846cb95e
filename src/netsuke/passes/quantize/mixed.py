"""Mixed precision after training: each layer's weights at the bits they need, within a limit."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from torch import Tensor
from torch.fx import GraphModule

from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model, Step
from netsuke.core.passes import Pass, Range
from netsuke.core.quantity import show
from netsuke.core.scheme import Uniform
from netsuke.nets.graph import rebuilt
from netsuke.nets.quantizers.allocate import Matrix
from netsuke.nets.quantizers.calibrate import calibrate
from netsuke.nets.quantizers.place import Plan, left_float, place
from netsuke.nets.quantizers.quantizer import QUANTIZE, quantizers
from netsuke.nets.quantizers.ranges import Estimator, Ranges
from netsuke.nets.quantizers.rounding.reconstruct import Rounding, reconstruct
from netsuke.nets.samples import Calibration
from netsuke.passes.quantize.choice import FLOAT, JUDGED, Chooser, Chosen, Sensitivity, curve
from netsuke.passes.quantize.reasons import no_arithmetic, no_kernel, quantized

Cost = Literal["bits", "bytes", "operations", "seconds"]
Inputs = tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class Mixed(Pass):
    """Give each layer's weights 2 to 8 bits by what the network suffers from it (HAWQ-V3: Yao et al.,
    2021), then quantize as ``quantize.static`` does.

    How much it suffers is measured layer by layer, the rest in float; an integer program shares out
    the bits; then what layers do to one another is measured where they ended up, and the bits are
    shared out anew.

    cost, limit: what is limited, and to how much: "bits" a weight on average, "bytes" of all weights,
    "operations" in billions of bit-operations (multiply-accumulates times the bits of both factors), or
    "seconds" of one call by the goal's clock. No kernel here is faster below 8 bits, so by seconds a
    layer is either at 8 bits or stays float. sensitivity: the "divergence" of outputs, "sqnr" of
    outputs, or the "hessian"'s trace times the rounding error (HAWQ-V2: Dong et al., 2020), all three
    without labels; "metric" is the drop on the validation data. probes: samples it is measured on.
    lowest, highest: bits. activations: their bits, everywhere. rounding, estimator, samples: as in
    ``quantize.static``. refine: how often the bits are shared out anew at most. curve: limits tried
    for the curve of bytes against quality.
    """

    name: ClassVar[str] = "quantize.mixed"

    cost: Cost = "bits"
    limit: Annotated[float, Range(1e-9, 1e15)] = 4.0
    sensitivity: Sensitivity = "divergence"
    probes: Annotated[int, Range(1, 100_000)] = 128
    lowest: Annotated[int, Range(2, 8)] = 2
    highest: Annotated[int, Range(2, 8)] = 8
    activations: Annotated[int, Range(2, 8)] = 8
    rounding: Rounding = "gptq"
    estimator: Estimator = "mse"
    samples: Annotated[int, Range(1, 100_000)] = 500
    refine: Annotated[int, Range(0, 20)] = 1
    curve: Annotated[int, Range(0, 50)] = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lowest > self.highest:
            raise NetsukeError(f"{self.name}: lowest {self.lowest} is above highest {self.highest}")

    def refuse(self, model: Model, goal: Goal) -> str | None:
        """Where it is done already, there is nothing to do, or the limit cannot be measured."""
        if reason := quantized(model) or no_kernel(model) or no_arithmetic(goal):
            return reason
        if self.cost == "seconds" and goal.clock is None:
            return "a limit in seconds needs a clock, and nothing can be timed here"
        return None

    def apply(self, model: Model, goal: Goal) -> Model:
        """Raises NetsukeError where the limit cannot be met, or calibration data is missing or broken."""
        inputs = Calibration(model, goal, self.samples)
        probes = tuple(_probed(model, goal, self.probes))
        chooser = Chooser(model, goal, probes, self.sensitivity)
        choices = self._choices()
        harms = chooser.harms(choices)
        costs, limit = self._priced(chooser, model, goal, inputs)
        chosen = chooser.choose(harms, costs, choices, limit)
        for _ in range(self.refine):
            better = chooser.refine(chosen, costs, choices, limit)
            if better is None:
                break
            chosen = better
        network = self._network(model, chosen.bits, inputs)
        table = self._table(chooser, chosen, harms)
        return model.then(network, self._step(chooser, chosen, table, network))

    def remedies(self) -> tuple[Pass, ...]:
        """The same with more bits, where bits are what is limited."""
        if self.cost != "bits" or self.limit >= self.highest:
            return ()
        return (replace(self, limit=min(self.limit + 1, float(self.highest))),)

    def _choices(self) -> tuple[int, ...]:
        return (8, FLOAT) if self.cost == "seconds" else tuple(range(self.lowest, self.highest + 1))

    def _priced(
        self, chooser: Chooser, model: Model, goal: Goal, inputs: Calibration
    ) -> tuple[Matrix, float]:
        """What each choice of each layer costs, and the limit, in the same unit."""
        if self.cost == "seconds":
            return self._timed(chooser, model, goal, inputs)
        each = {
            "bits": lambda s: s.elements / chooser.elements,
            "bytes": lambda s: s.elements / 8,
            "operations": lambda s: s.macs * self.activations / 1e9,
        }[self.cost]
        costs = [[each(s) * bits for bits in self._choices()] for s in chooser.sites]
        return np.array(costs, float), self.limit

    def _timed(
        self, chooser: Chooser, model: Model, goal: Goal, inputs: Calibration
    ) -> tuple[Matrix, float]:
        """Seconds that each layer adds where it stays float, measured with all the others at 8 bits."""
        assert goal.clock is not None
        uniform, step = chooser.uniform(8), Step(name=self.name)
        base = goal.clock(model.then(self._network(model, uniform, inputs), step))
        if base > self.limit:
            raise NetsukeError(
                f"{self.name}: a limit of {show(self.limit, 's')} cannot be met; with every layer at"
                f" 8 bits a call takes {show(base, 's')}"
            )
        costs = []
        for site in goal.track(chooser.sites, "timing each layer"):
            other = self._network(model, {**uniform, site.weight: FLOAT}, inputs)
            costs.append([0.0, max(0.0, goal.clock(model.then(other, step)) - base)])
        return np.array(costs), self.limit - base

    def _network(self, model: Model, bits: Mapping[str, int], inputs: Calibration) -> GraphModule:
        """The model quantized with these bits of its weights."""
        own = {
            name: Uniform(bits=b, symmetric=True, axis=0) for name, b in bits.items() if b != FLOAT
        }
        placed = place(model.network, model.example, Plan(
            activations=Uniform(bits=self.activations), own_weights=own
        ))  # fmt: skip
        network = _released(placed, {name for name, b in bits.items() if b == FLOAT})
        calibrate(network, inputs, Ranges(self.estimator))
        if self.rounding != "nearest":
            reconstruct(network, inputs, self.rounding)
        return network

    def _table(self, chooser: Chooser, chosen: Chosen, harms: Matrix) -> dict[str, Any]:
        """What the report draws: sensitivities, bits, and the curve of bytes against quality."""
        choices = self._choices()
        points = []
        if self.curve and self.cost != "seconds":
            means = np.geomspace(self.lowest, self.highest, self.curve + 2)[1:-1]
            points = curve(chooser, harms, choices, means)
        return {
            "kind": "bits",
            "sensitivity": self.sensitivity,
            "choices": list(choices),
            "layers": chooser.rows(chosen.bits, harms, choices),
            "curve": points,
            "float": chooser.quality({}) if points else None,
            "judged": JUDGED,
        }

    def _step(
        self, chooser: Chooser, chosen: Chosen, table: dict[str, Any], network: GraphModule
    ) -> Step:
        counted = Counter(sorted(chosen.bits.values()))
        each = ", ".join(f"{n}×{'float' if b == FLOAT else b}" for b, n in counted.items())
        mean, size = chooser.mean(chosen.bits), chooser.mean(chosen.bits) * chooser.elements / 8
        gain = f"; sharing out anew lowered it from {chosen.start:.3g}" * (
            chosen.harm < chosen.start
        )
        return Step(
            name=self.name,
            settings=self.settings(),
            summary=f"weights of {mean:.2f} bits on average, {show(size, 'B')}: {each}",
            notes=(
                f"{self.sensitivity} of all layers together {chosen.harm:.3g}{gain}",
                *(f"float: {layer} has no integer kernel" for layer in left_float(network)),
            ),
            table=table,
        )


def _probed(model: Model, goal: Goal, limit: int) -> Iterator[Inputs]:
    """The samples that sensitivities are measured on."""
    for batch in Calibration(model, goal, limit):
        if not all(bool(t.isfinite().all()) for t in batch):
            raise NetsukeError("calibrate: NaN or infinite values in the samples; mend them")
        yield batch


def _released(network: GraphModule, names: set[str]) -> GraphModule:
    """The placed network in which the layers with these weights compute in float.

    They read their input from before its quantizer: between two quantizers, onnxruntime would
    quantize their weights on its own, all channels by one scale.
    """
    layers = {u for q in quantizers(network) if str(q.source.target) in names for u in q.node.users}
    for layer in layers:
        for given in layer.all_input_nodes:
            if given.target is QUANTIZE:
                layer.replace_input_with(given, given.all_input_nodes[0])
    return rebuilt(network) if names else network
