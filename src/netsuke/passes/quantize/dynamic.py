"""Post-training INT8 with activation ranges found at each call."""

from dataclasses import dataclass
from typing import ClassVar

from netsuke.core.goal import Goal
from netsuke.core.model import Model, Step
from netsuke.core.passes import Pass
from netsuke.nets.costs import layers
from netsuke.nets.graph import where
from netsuke.nets.quantizers.dynamic import linear_layers, place_dynamic
from netsuke.nets.quantizers.place import PRODUCTS
from netsuke.nets.quantizers.roles import op
from netsuke.passes.quantize.reasons import no_arithmetic

LEAST = 0.1
"""Of all multiply-accumulates: below it, finding ranges at each call costs what integers gain."""


@dataclass(frozen=True, kw_only=True)
class Dynamic(Pass):
    """Linear layers multiply 8-bit integers: weights with a scale a channel, inputs with the range of
    the very tensor, found at each call. Needs no calibration data; the batch shares one range.

    Convolutions stay float: their integer kernel for ranges unknown beforehand (ConvInteger) is some
    20 times slower than the float one.
    """

    name: ClassVar[str] = "quantize.dynamic"

    @property
    def asks_device(self) -> bool:
        """The same codes for every device."""
        return False

    def refuse(self, model: Model, goal: Goal) -> str | None:
        """Where no time would be won, for lack of linear layers or of INT8 arithmetic."""
        if not linear_layers(model.network):
            return "there is no linear layer in float, and convolutions would get slower"
        if reason := no_arithmetic(goal):
            return reason
        found = layers(model)
        total = sum(layer.macs for layer in found)
        share = sum(layer.macs for layer in found if layer.op == "linear") / max(total, 1)
        if share < LEAST:
            return f"linear layers do {share:.1%} of the multiply-accumulates; nothing would be won"
        return None

    def apply(self, model: Model, goal: Goal) -> Model:
        """Raises NetsukeError naming a weight that holds NaN or infinite values."""
        network = place_dynamic(model.network)
        count = len(linear_layers(model.network))
        left = [n for n in network.graph.nodes if op(n) in PRODUCTS and op(n) != "linear"]
        step = Step(
            name=self.name,
            settings=self.settings(),
            summary=f"W8A8, ranges at each call: {count} linear",
            notes=(
                "buys bytes and time, for onnxruntime multiplies integers (DynamicQuantizeMatMul)",
                *(
                    f"float: {where(node)}: {op(node)} is not quantized dynamically"
                    for node in left
                ),
            ),
        )
        return model.then(network, step)
