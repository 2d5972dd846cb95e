"""The exported file as small as it can be, and the same for the same model."""

import string
from collections import Counter
from collections.abc import Iterator
from itertools import count, product

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes

from netsuke.nets.onnx_out.edit import Editor, is_read_once, made_by, slice_arrays

LETTERS = string.digits + string.ascii_letters


def join_slices(model: ir.Model) -> None:
    """x[a:b] along one axis, then along another → one node. In place."""
    editor = Editor(model.graph)
    for node in model.graph:
        before = made_by(node.inputs[0], "Slice") if node.op_type == "Slice" else None
        if before is None or not is_read_once(before):
            continue
        first, second = slice_arrays(before), slice_arrays(node)
        if first is None or second is None or set(first[2]) & set(second[2]):
            continue
        node.replace_input_with(0, before.inputs[0])
        for place, pair in enumerate(zip(first, second, strict=True), 1):
            node.replace_input_with(place, editor.constant(np.concatenate(pair)))
    passes.RemoveUnusedNodesPass()(model)


def tidy(model: ir.Model) -> None:
    """Drop what does nothing, is unused or is said twice. In place."""
    for step in (
        passes.IdentityEliminationPass(),
        passes.CommonSubexpressionEliminationPass(),
        passes.RemoveUnusedNodesPass(),
        passes.DeduplicateInitializersPass(),
    ):
        step(model)


def label(model: ir.Model) -> None:
    """Name each node ``layer/Kind``, no two alike, and its outputs after it. In place."""
    taken: Counter[str] = Counter()
    for node in model.graph:
        name = f"{node.name or 'model'}/{node.op_type}"
        taken[name] += 1
        node.name = name if taken[name] == 1 else f"{name}.{taken[name]}"
        for i, value in enumerate(node.outputs):
            if not value.is_graph_output():
                value.name = f"{node.name}:{i}"
                value.type = value.shape = None  # they are from before the rewrites


def strip(model: ir.Model) -> None:
    """Take out names and metadata; values get the shortest names there are. In place."""
    passes.ClearMetadataAndDocStringPass()(model)
    model.producer_name = model.producer_version = None
    graph = model.graph
    graph.name = "n"  # the standard wants one
    ports = [*graph.inputs, *graph.outputs]
    names = _short_names({p.name for p in ports if p.name})
    inner = [*graph.initializers.values(), *(v for node in graph for v in node.outputs)]
    for value in (*ports, *inner):
        value.metadata_props.clear()
        value.doc_string = None
    for value in inner:
        if value not in ports:
            value.name = next(names)
            value.type = value.shape = None  # else they are written out, for initializers once more
            if value.const_value is not None:
                value.const_value.name = value.name
    for node in graph:
        node.name = ""


def _short_names(taken: set[str]) -> Iterator[str]:
    for length in count(1):
        for letters in product(LETTERS, repeat=length):
            name = "".join(letters)
            if name not in taken:
                yield name
