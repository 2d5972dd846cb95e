"""Model → ONNX, as a stock runtime runs it fast."""

from collections.abc import Sequence

import onnx_ir as ir
from torch import Tensor
from torch.fx import GraphModule

from netsuke.nets.onnx_out.aten import translate
from netsuke.nets.onnx_out.integers import on_integers
from netsuke.nets.onnx_out.lower import lower
from netsuke.nets.onnx_out.tidy import join_slices, strip, tidy


def to_onnx(network: GraphModule, example: Sequence[Tensor]) -> ir.Model:
    """The network in ONNX (opset 21, QDQ), nodes still named by the user's modules."""
    model = translate(lower(network), example)
    join_slices(model.graph)
    on_integers(model)
    tidy(model)
    return model
