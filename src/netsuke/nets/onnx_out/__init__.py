"""Model → ONNX (opset 21, QDQ), as a stock runtime runs it fast, and no byte more than it needs."""

from dataclasses import dataclass

import onnx_ir as ir

from netsuke.core.model import Model
from netsuke.nets.onnx_out.aten import translate
from netsuke.nets.onnx_out.build import UntranslatedError
from netsuke.nets.onnx_out.dynamic import multiply_dynamic
from netsuke.nets.onnx_out.general import translate_all
from netsuke.nets.onnx_out.integers import meant_for_integers, on_integers
from netsuke.nets.onnx_out.kernels import for_kernels
from netsuke.nets.onnx_out.lower import lower
from netsuke.nets.onnx_out.stored import narrow, store
from netsuke.nets.onnx_out.tidy import join_slices, label, strip, tidy


@dataclass(frozen=True)
class Exported:
    """An ONNX file in memory.

    content: the file, without names and metadata. readable: the same graph with the user's names on
    its nodes, for looking into it. inputs: (name, dtype, shape without the batch). integer: names
    (in ``readable``) of the nodes a runtime should run on integers. dynamic: whether ranges are found
    at each call.
    """

    content: bytes
    readable: bytes
    inputs: tuple[tuple[str, str, tuple[int, ...]], ...]
    integer: frozenset[str]
    dynamic: bool


def export_onnx(model: Model) -> Exported:
    """The model as ONNX; the same model gives the same bytes.

    Raises NetsukeError, in one line, where an operation cannot be expressed in ONNX.
    """
    made = to_onnx(model)
    label(made)
    readable, integer = _bytes(made), meant_for_integers(made)
    strip(made)
    dynamic = any(node.op_type == "DynamicQuantizeLinear" for node in made.graph)
    return Exported(_bytes(made), readable, _inputs(made), integer, dynamic)


def to_onnx(model: Model) -> ir.Model:
    """The graph before it is stripped of names."""
    network = lower(model.network)
    try:
        made = translate(network, model.example)
    except UntranslatedError:
        made = translate_all(network, model.example)
    for step in (
        tidy,
        join_slices,
        on_integers,
        store,
        multiply_dynamic,
        for_kernels,
        narrow,
        tidy,
    ):
        step(made)
    return made


def _bytes(model: ir.Model) -> bytes:
    content: bytes = ir.to_proto(model).SerializeToString(deterministic=True)
    return content


def _inputs(model: ir.Model) -> tuple[tuple[str, str, tuple[int, ...]], ...]:
    found = []
    for x in model.graph.inputs:
        assert x.dtype is not None
        assert x.shape is not None
        sizes = tuple(s if isinstance(s, int) else 1 for s in x.shape[1:])
        found.append((str(x.name), x.dtype.numpy().name, sizes))
    return tuple(found)
