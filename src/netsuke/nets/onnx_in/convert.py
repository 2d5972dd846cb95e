"""The conversion of one graph, node by node, by the tables of operations."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, fx

from netsuke.core.errors import NetsukeError
from netsuke.nets.graph import rebuilt
from netsuke.nets.onnx_in import images, layers, moves, pointwise, reductions, shapes
from netsuke.nets.onnx_in.build import Builder
from netsuke.nets.onnx_in.call import Call, Handler
from netsuke.nets.onnx_in.file import File, first_line
from netsuke.nets.onnx_in.values import Operand, UnreadableError, Value

TABLE: dict[str, Handler] = {
    **images.TABLE,
    **layers.TABLE,
    **moves.TABLE,
    **pointwise.TABLE,
    **reductions.TABLE,
}
# Operations on data that take sizes as an argument, rather than compute on them.
SIZED = ("Expand", "Reshape", "Resize", "Slice", "Tile")
MAKERS = ("ConstantOfShape", "Range")  # of data from sizes


def convert(
    file: File, tried: Sequence[Sequence[Tensor]]
) -> tuple[fx.GraphModule, dict[str, Value]]:
    """The file's graph as ATen operations, and each ONNX value as it came out on the way.

    tried: inputs of each batch size to try; dimensions that differ between them stay free. Raises
    NetsukeError naming the node that cannot be converted.
    """
    graph = file.proto.graph
    b = Builder(len(tried), file.batch)
    known: dict[str, Operand] = {"": None}
    for i, given in enumerate(file.inputs):
        known[given.name] = b.input(given.name, [inputs[i] for inputs in tried])
    for weight in graph.initializer:
        known[weight.name] = b.constant(_tensor(weight), weight.name)
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(o.name for o in graph.output)
    for node in graph.node:
        results = _converted(file, b, node, known, readers)
        for name, result in zip(node.output, results, strict=False):
            known[name] = result if name else None
        for name in node.output[len(results) :]:
            if readers[name]:
                raise NetsukeError(
                    f"{file.path}: node {b.label!r} uses {node.op_type}, whose output {name!r} "
                    "is not known to Netsuke"
                )
    values = {name: value for name, value in known.items() if isinstance(value, Value)}
    ends = [values[o.name].node if o.name in values else None for o in graph.output]
    if None in ends:
        raise NetsukeError(f"{file.path}: an output does not depend on the values of the input")
    b.graph.output(ends[0] if len(ends) == 1 else tuple(ends))
    network = fx.GraphModule(b.root.eval(), b.graph, class_name="Network")
    return rebuilt(network), values


def _converted(
    file: File,
    b: Builder,
    node: onnx.NodeProto,
    known: Mapping[str, Operand],
    readers: Mapping[str, int],
) -> tuple[Any, ...]:
    b.label = node.name or node.output[0]
    call = Call(
        op=node.op_type,
        attributes=_attributes(node),
        inputs=tuple(known[name] for name in node.input),
        alone=tuple(readers[name] == 1 for name in node.input),
        outputs=sum(map(bool, node.output)),
        opset=file.opset,
    )
    place = f"{file.path}: node {b.label!r} uses {call.op}"
    try:
        result = _handler(node, call)(b, call)
    except UnreadableError as error:
        raise NetsukeError(f"{place}, {error}") from error
    except (RuntimeError, TypeError, ValueError, IndexError, KeyError) as error:
        raise NetsukeError(f"{place}, which cannot be converted: {first_line(error)}") from error
    return result if isinstance(result, tuple) else (result,)


def _handler(node: onnx.NodeProto, call: Call) -> Handler:
    if node.domain not in ("", "ai.onnx"):
        raise UnreadableError(f"which is of the domain {node.domain} and not known to Netsuke")
    data = call.inputs[:1] if call.op in SIZED else call.inputs
    if call.op not in MAKERS and any(isinstance(i, np.ndarray) for i in data):
        return shapes.convert
    if call.op == "Shape":
        return shapes.shape
    if call.op not in TABLE:
        raise UnreadableError("which is not known to Netsuke")
    return TABLE[call.op]


def _attributes(node: onnx.NodeProto) -> Mapping[str, Any]:
    found = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode()
        elif isinstance(value, onnx.TensorProto):
            value = _tensor(value)
        found[attribute.name] = list(value) if hasattr(value, "append") else value
    return found


def _tensor(proto: onnx.TensorProto) -> Tensor:
    return torch.from_numpy(np.array(numpy_helper.to_array(proto)))
