"""What was converted must compute what onnxruntime computes."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, fx

from netsuke.core.errors import NetsukeError
from netsuke.nets.onnx_in.convert import convert
from netsuke.nets.onnx_in.file import File
from netsuke.nets.onnx_in.values import Value

CLOSE = 1e-4  # of the largest output, or absolute for small outputs


def verified(file: File, tried: Sequence[tuple[Tensor, ...]]) -> fx.GraphModule:
    """The network, after it gave onnxruntime's outputs for every input tried."""
    network, values = convert(file, tried[:2])
    for inputs in tried:
        with torch.no_grad():
            outputs = network(*inputs)
        given = list(outputs) if isinstance(outputs, tuple) else [outputs]
        worst = max(map(_difference, given, file.run(inputs)))
        if not worst <= CLOSE:
            place = _first_difference(file, tried[0], values)
            raise NetsukeError(
                f"{file.path}: converted, it differs from onnxruntime by {worst:.1e}{place}; "
                "please report the file"
            )
    return network


def _difference(given: Tensor, wanted: Tensor) -> float:
    """The largest difference, relative to the largest value where that is above 1."""
    if given.shape != wanted.shape or given.dtype != wanted.dtype:
        return math.inf
    a, b = given.double(), wanted.double()
    if not a.numel() or torch.equal(a.nan_to_num(math.pi), b.nan_to_num(math.pi)):
        return 0.0
    return float((a - b).abs().max() / b.abs().max().clamp(min=1.0))


def _first_difference(file: File, inputs: tuple[Tensor, ...], values: Mapping[str, Value]) -> str:
    """``, first at node 'X' (Resize)``, found by asking onnxruntime for every value on the way."""
    if file.batch not in (0, len(inputs[0])):
        return ""
    nodes = [(node, name) for node in file.proto.graph.node for name in node.output]
    nodes = [(node, name) for node, name in nodes if name in values]
    wanted = file.asked([name for _, name in nodes]).run(inputs)
    for (node, name), tensor in zip(nodes, wanted, strict=True):
        if not _difference(values[name].first, tensor) <= CLOSE:
            return f", first at node {node.name or name!r} ({node.op_type})"
    return ""
