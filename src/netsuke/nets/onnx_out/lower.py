"""The last form of a network before ONNX: no training, integers as the runtime stores them.

Everything that depends on how integers are stored is decided here, so that either way of writing
ONNX has one operation to translate for each of QuantizeLinear and DequantizeLinear.
"""

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from netsuke.core.errors import NetsukeError
from netsuke.core.scheme import Lookup
from netsuke.nets import graph
from netsuke.nets.fold import fold_batchnorm
from netsuke.nets.quantizers import lookup
from netsuke.nets.quantizers.lookup import Levels, TableQuantizer, lookups, nearest
from netsuke.nets.quantizers.quantizer import HOME, Quantizer, along, is_weight, quantizers, read
from netsuke.nets.quantizers.roles import op

ACTIVATION = torch.uint8
"""What activations are stored in. onnxruntime's x86 kernels multiply u8 by s8 and leave s8 by s8 in
float; on ARM it has both. The encodings of a model fit either, by a shift of the zero point."""
WIDE_ACTIVATION = torch.uint16
WEIGHT, BIAS = torch.int8, torch.int32
SMALL_FLOATS = {
    name: (lookup.table(Lookup(table=name, bits=8)), kind)  # type: ignore[arg-type]
    for name, kind in (("e4m3", torch.float8_e4m3fn), ("e5m2", torch.float8_e5m2))
}
"""Levels that are a type of number themselves."""
HALVES = (torch.float16, torch.bfloat16)


@torch.library.custom_op("netsuke::dequantize", mutates_args=())
def dequantize(
    codes: Tensor, scale: Tensor, zero_point: Tensor | None, axis: int, group: int
) -> Tensor:
    """``(codes − zero point) · scale``; codes are integers or 8-bit floats, scales as a quantizer's."""
    held = codes.to(scale.dtype)
    if zero_point is not None:
        held = held - along(held, zero_point, axis, group)
    return held * along(held, scale, axis, group)


@dequantize.register_fake
def _(codes: Tensor, scale: Tensor, zero_point: Tensor | None, axis: int, group: int) -> Tensor:
    return torch.empty_like(codes, dtype=scale.dtype)


@torch.library.custom_op("netsuke::pick", mutates_args=())
def pick(codes: Tensor, levels: Tensor, scale: Tensor | None) -> Tensor:
    """``levels[codes] · scale``, the scale broadcast; without one, the levels themselves."""
    held = levels[codes.long()]
    return held if scale is None else held * scale


@pick.register_fake
def _(codes: Tensor, levels: Tensor, scale: Tensor | None) -> Tensor:
    return torch.empty_like(codes, dtype=levels.dtype)


@torch.library.custom_op("netsuke::widen", mutates_args=())
def widen(half: Tensor) -> Tensor:
    """A tensor of 16-bit floats in single precision."""
    return half.float()


@widen.register_fake
def _(half: Tensor) -> Tensor:
    return torch.empty_like(half, dtype=torch.float32)


@torch.library.custom_op("netsuke::round_small", mutates_args=())
def round_small(x: Tensor, scale: Tensor, kind: str) -> Tensor:
    """``float8(x / scale) · scale``, saturating. kind: ``e4m3`` or ``e5m2``."""
    small = SMALL_FLOATS[kind][1]
    most = torch.finfo(small).max
    return (x / scale).clamp(-most, most).to(small).to(x.dtype) * scale


@round_small.register_fake
def _(x: Tensor, scale: Tensor, kind: str) -> Tensor:
    return torch.empty_like(x)


DEQUANTIZE = torch.ops.netsuke.dequantize.default
PICK = torch.ops.netsuke.pick.default
WIDEN = torch.ops.netsuke.widen.default
ROUND_SMALL = torch.ops.netsuke.round_small.default


def lower(network: GraphModule) -> GraphModule:
    """A copy for export: BatchNorm folded, dropout gone, weights held as the codes they are.

    Raises NetsukeError naming an activation whose scheme no runtime computes.
    """
    network = graph.inference(fold_batchnorm(network))
    for q in list(quantizers(network)):
        if q.constant and (q.limits[0] == -q.limits[1] or is_weight(q)):
            _hold_integers(network, q)
        else:
            _store(network, q)
    for t in list(lookups(network)):
        if t.source.op == "get_attr":
            _hold_table(network, t)
        else:
            _round_small(network, t)
    for node in list(network.graph.nodes):
        _hold_half(network, node)
    graph.rebuilt(network)
    graph.drop_unused(network)
    return network


def _hold_integers(network: GraphModule, q: Quantizer) -> None:
    """quantize(weight) → dequantize(integers)."""
    x, encoding = graph.tensor_of(network, q.source), read(network, q.key)
    assert x is not None
    x, shared = x.detach().double(), (q.axis, q.group)
    zero = along(x, encoding.zero_point, *shared)
    level = (torch.round(x / along(x, encoding.scale, *shared)) + zero).clamp(*q.limits)
    kind = _storage(q.limits)
    stored = None
    if bool(encoding.zero_point.any()):
        stored = _buffer(network, q.key, q.node, "stored_zero", encoding.zero_point.to(kind))
    held = _buffer(network, q.key, q.node, "integers", level.to(kind))
    _instead(network, q.node, DEQUANTIZE, (held, q.node.args[1], stored, *shared))


def _storage(limits: tuple[int, int]) -> torch.dtype:
    """The smallest type of torch that holds all codes, of their signedness."""
    kinds = (torch.uint8, torch.uint16) if limits[0] == 0 else (WEIGHT, torch.int16)
    fits = (k for k in kinds if torch.iinfo(k).min <= limits[0] and limits[1] <= torch.iinfo(k).max)
    return next(fits, BIAS)


def _hold_table(network: GraphModule, t: TableQuantizer) -> None:
    """lookup(weight) → pick(codes), or dequantize(codes) where the levels are a type of number."""
    x, made = graph.tensor_of(network, t.source), lookup.read(network, t.key)
    assert x is not None
    x, shared = x.detach().double(), (t.axis, t.group)
    code = nearest(x / along(x, made.scale, *shared), made.levels)
    for levels, kind in SMALL_FLOATS.values():
        if torch.equal(levels, made.levels.float()):
            held = _buffer(network, t.key, t.node, "codes", made.levels[code].to(kind))
            _instead(network, t.node, DEQUANTIZE, (held, t.node.args[2], None, *shared))
            return
    _pick(network, t, code.to(torch.uint8), made)


def _round_small(network: GraphModule, t: TableQuantizer) -> None:
    """lookup(activation) → round_small(activation); other tables would need a search for each value."""
    scheme = lookup.scheme_of(network, t)
    if scheme.table not in SMALL_FLOATS:
        raise NetsukeError(
            f"onnx: {graph.where(t.source)}: no runtime computes activations in {scheme}, which takes a"
            f" search for each value; give weights alone that scheme, or take e4m3 or integers"
        )
    _instead(network, t.node, ROUND_SMALL, (t.source, t.node.args[2], scheme.table))


def _pick(network: GraphModule, t: TableQuantizer, code: Tensor, made: Levels) -> None:
    """One scale for all goes into the levels; others get the shape they are broadcast from."""
    shape, levels, scale = code.shape, made.levels, made.scale
    if t.group:
        code, scale = lookup.grouped(code, t.group), scale[:, :, None]
    elif t.axis >= 0:
        scale = along(code.float(), scale, t.axis)
    else:
        levels = levels * scale
    scaled = _buffer(network, t.key, t.node, "broadcast", scale) if t.axis >= 0 else None
    held = (_buffer(network, t.key, t.node, *x) for x in (("codes", code), ("picked", levels)))
    node = _instead(network, t.node, PICK, (*held, scaled))
    if t.group:
        _ungroup(network, node, shape)


def _ungroup(network: GraphModule, node: Node, shape: torch.Size) -> None:
    """(rows, groups, group) → the matrix it was."""
    aten, users = torch.ops.aten, list(node.users)
    with network.graph.inserting_after(node):
        flat = network.graph.call_function(aten.reshape.default, (node, [shape[0], -1]))
    with network.graph.inserting_after(flat):
        whole = network.graph.call_function(aten.slice.Tensor, (flat, 1, 0, shape[1]))
    for user in users:
        user.replace_input_with(node, whole)


def _hold_half(network: GraphModule, node: Node) -> None:
    """float(half(weight)) → widen(half)."""
    x = graph.tensor_of(network, node.args[0]) if op(node) == "to" else None
    if not isinstance(x, torch.nn.Parameter) or node.args[1] not in HALVES:
        return
    for wide in [user for user in node.users if op(user) == "to"]:
        key = node.name.replace(".", "_")
        held = _buffer(network, key, wide, "codes", x.detach().to(node.args[1]))  # type: ignore[arg-type]
        _instead(network, wide, WIDEN, (held,))


def _instead(network: GraphModule, node: Node, target: Any, arguments: tuple[Any, ...]) -> Node:
    """Let an operation on what is held take the place of a node."""
    with network.graph.inserting_before(node):
        made = network.graph.call_function(target, arguments)
    made.meta = dict(node.meta)
    node.replace_all_uses_with(made)
    network.graph.erase_node(node)
    return made


def _store(network: GraphModule, q: Quantizer) -> None:
    """The zero point in the type of storage; where that has more levels, a clamp before."""
    kind = ACTIVATION if q.bits <= 8 else WIDE_ACTIVATION
    ends, encoding = torch.iinfo(kind), read(network, q.key)
    zero = (encoding.zero_point - q.limits[0] + ends.min).to(kind)
    if q.limits[1] - q.limits[0] < ends.max - ends.min:
        low, high = ((e - encoding.zero_point) * encoding.scale for e in q.limits)
        with network.graph.inserting_before(q.node):
            clamped = network.graph.call_function(
                torch.ops.aten.clamp.default, (q.source, float(low), float(high))
            )
        clamped.meta = dict(q.node.meta)
        q.node.replace_input_with(q.source, clamped)
    stored = _buffer(network, q.key, q.node, "stored_zero", zero)
    q.node.replace_input_with(q.node.args[2], stored)  # type: ignore[arg-type]
    q.node.args = (*q.node.args[:3], ends.min, ends.max, q.axis)


def _buffer(network: GraphModule, key: str, at: Node, name: str, tensor: Tensor) -> Node:
    target = f"{HOME}.{key}.{name}"
    graph.set_tensor(network, target, tensor)
    with network.graph.inserting_before(at):
        return network.graph.get_attr(target)
