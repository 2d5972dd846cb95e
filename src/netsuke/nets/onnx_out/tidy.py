"""The exported file as small as it can be, and the same for the same model."""

import string
from collections.abc import Iterator
from itertools import count, product

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes

LETTERS = string.digits + string.ascii_letters


def tidy(model: ir.Model) -> None:
    """Drop what is unused or said twice. In place."""
    _skip_identities(model.graph)
    for step in (
        passes.CommonSubexpressionEliminationPass(),
        passes.RemoveUnusedNodesPass(),
        passes.DeduplicateInitializersPass(),
    ):
        step(model)


def strip(model: ir.Model) -> None:
    """Take out names and metadata; values get the shortest names there are. In place."""
    passes.ClearMetadataAndDocStringPass()(model)
    model.producer_name = model.producer_version = None
    graph = model.graph
    ports = [*graph.inputs, *graph.outputs]
    names = _short_names({p.name for p in ports if p.name})
    for value in list(graph.initializers.values()):
        value.name = next(names)
        assert value.const_value is not None
        value.const_value.name = value.name
    for node in graph:
        node.name = ""
        for value in node.outputs:
            if value not in ports:
                value.name = next(names)
                value.type = value.shape = None


def _short_names(taken: set[str]) -> Iterator[str]:
    for length in count(1):
        for letters in product(LETTERS, repeat=length):
            name = "".join(letters)
            if name not in taken:
                yield name


def join_slices(graph: ir.Graph) -> None:
    """x[a:b] along one axis, then along another → one node."""
    for node in list(graph):
        before = node.inputs[0].producer() if node.op_type == "Slice" and node.inputs[0] else None
        if before is None or before.op_type != "Slice" or len(before.outputs[0].uses()) > 1:
            continue
        first, second = slice_arrays(before), slice_arrays(node)
        if first is None or second is None or set(first[2]) & set(second[2]):
            continue
        joined = [np.concatenate(pair) for pair in zip(first, second, strict=True)]
        node.replace_input_with(0, before.inputs[0])
        for place, array in enumerate(joined, 1):
            node.replace_input_with(place, _initializer(graph, array))


def slice_arrays(node: ir.Node) -> list[np.ndarray] | None:
    """Starts, ends, axes, steps; None where they are not all constants."""
    values = node.inputs[1:]
    if len(values) != 4 or any(v is None or v.const_value is None for v in values):
        return None
    return [v.const_value.numpy() for v in values if v is not None and v.const_value is not None]


def _initializer(graph: ir.Graph, array: np.ndarray) -> ir.Value:
    tensor = ir.tensor(array, name=f"joined{len(graph.initializers)}")
    value = ir.Value(name=tensor.name, type=ir.TensorType(tensor.dtype), const_value=tensor)
    value.shape = ir.Shape(array.shape)
    graph.register_initializer(value)
    return value


def _skip_identities(graph: ir.Graph) -> None:
    """Let the node before an Identity write the output itself, where nothing forbids it."""
    outputs = list(graph.outputs)
    for node in list(graph):
        source, result = (node.inputs[0], node.outputs[0]) if node.op_type == "Identity" else (None, None)
        if source is None or result is None:
            continue
        if result not in outputs:
            result.replace_all_uses_with(source)
        elif source.producer() is not None and source not in outputs:
            source.name, source.type, source.shape = result.name, result.type, result.shape
            graph.outputs[outputs.index(result)] = source
            outputs = list(graph.outputs)
            result.replace_all_uses_with(source)
            graph.remove(node, safe=False)
