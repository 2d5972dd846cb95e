"""Codes that number the entries of a table: codebooks, powers of two, quantiles, small floats.

A table's quantizer is one node ``netsuke::lookup(x, levels, scale, axis, group)`` of the graph.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from netsuke.core.scheme import WIDTHS, Lookup
from netsuke.nets import graph
from netsuke.nets.quantizers.quantizer import HOME, SCHEME, along

SWEEPS = 100
"""At most so many rounds of k-means; from these starts it seldom needs 50."""
TAIL = 0.9677083
"""What share of the normal distribution lies below NF4's last quantile: 1 − (1/32 + 1/30)/2."""
FLOATS = {"e4m3": (3, 7, 126), "e5m2": (2, 15, 123)}
"""Bits of mantissa, bias of the exponent, the code of the largest number."""


@dataclass(frozen=True)
class Levels:
    """levels: ascending, float32. scale: of shape (), (channels,) or (rows, groups)."""

    levels: Tensor
    scale: Tensor


@dataclass(frozen=True)
class TableQuantizer:
    """One lookup node of a network."""

    node: Node
    key: str
    axis: int
    group: int

    @property
    def source(self) -> Node:
        """The node whose value is quantized."""
        return self.node.all_input_nodes[0]


@torch.library.custom_op("netsuke::lookup", mutates_args=())
def lookup(x: Tensor, levels: Tensor, scale: Tensor, axis: int, group: int) -> Tensor:
    """The nearest of ``levels · scale`` for each value of x, computed in the dtype of x.

    levels: ascending. scale: shape (), or one for each index of ``axis``, or with a group one for
    each run of so many values along the rows of a matrix. A tie goes to the level an even number of
    steps from zero, which for the levels of a floating-point format is its rounding. The gradient
    passes straight through inside the range and is zero outside.
    """
    step = along(x, scale, axis, group)
    return levels.to(x.dtype)[nearest(x / step, levels)] * step


@lookup.register_fake
def _(x: Tensor, levels: Tensor, scale: Tensor, axis: int, group: int) -> Tensor:
    return torch.empty_like(x)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, levels, scale, *ctx.shared = inputs
    ctx.save_for_backward(x, levels, scale)


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, levels, scale = ctx.saved_tensors
    value = x / along(x, scale, *ctx.shared)
    inside = (value >= levels[0]) & (value <= levels[-1])
    return grad * inside, None, None, None, None


lookup.register_autograd(_gradient, setup_context=_keep)
LOOKUP = torch.ops.netsuke.lookup.default


def nearest(values: Tensor, levels: Tensor) -> Tensor:
    """The number of the nearest level for each value; ties as ``lookup`` breaks them."""
    levels = levels.double()  # the middle of two float32 needs one bit more than they have
    middles, exact = (levels[1:] + levels[:-1]) / 2, values.double()
    below, above = (torch.bucketize(exact, middles, right=r) for r in (False, True))
    even = (below - int(levels.abs().argmin())) % 2 == 0
    return torch.where(even, below, above)


def fit(values: Tensor, scheme: Lookup) -> Levels:
    """The table of a weight and its scales.

    Scales put the largest value of a channel (or group) on the last level; those of ``log`` are
    powers of two. A codebook's levels have the least square error that k-means finds.
    """
    rows, scale = _rows(values.detach().double(), scheme), torch.tensor(1.0)
    if scheme.table == "kmeans":
        if scheme.axis >= 0:
            scale = _scales(rows.abs().amax(-1), 1.0)
        return Levels(codebook(rows / scale.double()[..., None], scheme.bits), scale)
    return spanning(rows.abs().amax(-1), scheme)


def spanning(reach: Tensor, scheme: Lookup) -> Levels:
    """A fixed table whose last level reaches so far, of any shape; with ``log`` to the nearest power
    of two. 1 where there is nothing to reach."""
    levels = table(scheme)
    scale = _scales(reach, float(levels[-1]))
    return Levels(levels, _rounded_to_power(scale) if scheme.table == "log" else scale)


def table(scheme: Lookup) -> Tensor:
    """The levels of a scheme whose levels are fixed, ascending."""
    if scheme.table == "nf4":
        return _quantiles()
    if scheme.table == "log":
        powers = 2.0 ** -torch.arange(2 ** (scheme.bits - 1) - 2, -1, -1, dtype=torch.float64)
        return _both_signs(powers[powers >= torch.finfo(torch.float32).tiny])
    return _both_signs(_floats(*FLOATS[scheme.table]))


def small_float(levels: Tensor) -> str:
    """``e4m3`` or ``e5m2`` where these are its numbers; "" for any other levels."""
    each = (Lookup(table=name, bits=8) for name in FLOATS)  # type: ignore[arg-type]
    return next((s.table for s in each if torch.equal(table(s), levels.float())), "")


def bits_of(levels: int) -> int:
    """How many bits a code for one of so many levels has."""
    return (levels - 1).bit_length()


def insert(network: GraphModule, value: Node, key: str, made: Levels, scheme: Lookup) -> Node:
    """A lookup of ``value``, placed right after it; its users are left for the caller to redirect."""
    write(network, key, made)
    with network.graph.inserting_after(value):
        levels = network.graph.get_attr(f"{HOME}.{key}.levels")
    with network.graph.inserting_after(levels):
        scale = network.graph.get_attr(f"{HOME}.{key}.scale")
    with network.graph.inserting_after(scale):
        arguments = (value, levels, scale, scheme.axis, scheme.group)
        node = network.graph.create_node(
            "call_function", LOOKUP, arguments, name=f"quantized_{key}"
        )
    node.meta = {k: v for k, v in value.meta.items() if k != "val"}
    return node


def lookups(network: GraphModule) -> Iterator[TableQuantizer]:
    """Every lookup of the network, in the order of the graph."""
    for node in network.graph.nodes:
        if node.op == "call_function" and node.target is LOOKUP:
            key = str(node.args[1].target).removeprefix(f"{HOME}.").removesuffix(".levels")
            yield TableQuantizer(node, key, *node.args[3:])


def write(network: GraphModule, key: str, made: Levels) -> None:
    """Set the table of every lookup with this key (in place)."""
    for name, tensor in (("levels", made.levels), ("scale", made.scale)):
        graph.set_tensor(network, f"{HOME}.{key}.{name}", tensor.detach().clone())


def scheme_of(network: GraphModule, t: TableQuantizer) -> Lookup:
    """As it was placed; in a network that was saved, what its levels are."""
    placed = t.node.meta.get(SCHEME)
    if isinstance(placed, Lookup):
        return placed
    levels = read(network, t.key).levels.float()
    bits, shared = bits_of(len(levels)), {"axis": t.axis, "group": t.group}
    for name in ("e4m3", "e5m2", "nf4", "log"):
        if bits in WIDTHS[name]:
            scheme = Lookup(table=name, bits=bits, **shared)
            if torch.equal(table(scheme), levels):
                return scheme
    return Lookup(table="kmeans", bits=bits, **shared)


def read(network: GraphModule, key: str) -> Levels:
    """The table with this key."""
    place = network.get_submodule(f"{HOME}.{key}")
    return Levels(place.get_buffer("levels"), place.get_buffer("scale"))


def grouped(matrix: Tensor, group: int) -> Tensor:
    """The runs of a matrix's rows, (rows, groups, group); the last one is filled up with its row's
    last value, which changes no extreme."""
    missing = -matrix.shape[1] % group
    filled = torch.cat((matrix, matrix[:, -1:].expand(-1, missing)), 1)
    return filled.unflatten(1, (-1, group))


def _rows(values: Tensor, scheme: Lookup) -> Tensor:
    """The values that share a scale, along the last dimension."""
    if scheme.group:
        return grouped(values, scheme.group)
    return values.flatten() if scheme.axis < 0 else values.movedim(scheme.axis, 0).flatten(1)


def _scales(reach: Tensor, top: float) -> Tensor:
    """What puts the reach on the top level; 1 where there is nothing to reach."""
    scale = reach / top
    return torch.where(scale > torch.finfo(torch.float32).tiny, scale, 1.0).float()


def _rounded_to_power(scale: Tensor) -> Tensor:
    return torch.exp2(torch.log2(scale.double()).round()).float()


def _both_signs(positive: Tensor) -> Tensor:
    """(−max … 0 … max), float32."""
    return torch.cat((-positive.flip(0), torch.zeros(1), positive)).float()


def _floats(mantissa: int, bias: int, last: int) -> Tensor:
    """The positive numbers of a small floating-point format, by their codes 1 … last."""
    code = torch.arange(1, last + 1)
    exponent, fraction = code >> mantissa, (code & (2**mantissa - 1)) / 2**mantissa
    normal = exponent > 0
    power = torch.exp2(torch.where(normal, exponent, 1).double() - bias)
    return (fraction + normal) * power


def _quantiles() -> Tensor:
    """NF4: quantiles of the normal distribution, eight above zero and seven below, within ±1."""
    above = torch.special.ndtri(torch.linspace(TAIL, 0.5, 9, dtype=torch.float64)[:-1])
    below = -torch.special.ndtri(torch.linspace(TAIL, 0.5, 8, dtype=torch.float64)[:-1])
    found = torch.cat((below, torch.zeros(1), above.flip(0)))
    return (found / found.max()).float()


def codebook(values: Tensor, bits: int, counts: Tensor | None = None) -> Tensor:
    """2^bits levels by k-means from two starts, evenly over the range and over the values; the
    better one. Where values are exactly zero one level is, so that what was pruned stays so: a level
    of its own, or the nearest one moved there, whichever is better.

    counts: how often each value is there; None for once.
    """
    ordered, order = values.flatten().sort()
    often = torch.ones_like(ordered) if counts is None else counts.flatten()[order]
    pruned = ordered == 0
    if bool(pruned.any()) and not bool(pruned.all()):
        own = _best_levels(ordered[~pruned], often[~pruned], 2**bits - 1)
        moved = _best_levels(ordered, often, 2**bits)
        moved[moved.abs().argmin()] = 0.0
        both = (torch.cat((own, torch.zeros(1))).sort().values, moved)
        return min(both, key=lambda levels: _square_error(ordered, often, levels.double()))
    return _best_levels(ordered, often, 2**bits)


def _best_levels(ordered: Tensor, often: Tensor, count: int) -> Tensor:
    among = often.cumsum(0)
    even = torch.linspace(float(ordered[0]), float(ordered[-1]), count, dtype=torch.float64)
    spread = torch.arange(count, dtype=torch.float64) + 0.5
    places = torch.searchsorted(among, spread * (float(among[-1]) / count), right=True)
    starts = (even, ordered[places.clamp(max=len(ordered) - 1)])
    found = [_lloyd(ordered, often, start) for start in starts]
    return min(found, key=lambda levels: _square_error(ordered, often, levels)).float()


def _lloyd(ordered: Tensor, often: Tensor, levels: Tensor) -> Tensor:
    """k-means in one dimension on sorted values: cells are runs, so sums come off running sums."""
    none = torch.zeros(1, dtype=torch.float64)
    sums, counts = (torch.cat((none, x.cumsum(0))) for x in (ordered * often, often))
    for _ in range(SWEEPS):
        ends = torch.searchsorted(ordered, (levels[1:] + levels[:-1]) / 2)
        ends = torch.cat((torch.tensor([0]), ends, torch.tensor([len(ordered)])))
        count = counts[ends].diff()
        means = sums[ends].diff() / count.clamp(min=1)
        moved = torch.where(count > 0, means, levels)
        if torch.equal(moved, levels):
            break
        levels = moved.sort().values
    return levels


def _square_error(ordered: Tensor, often: Tensor, levels: Tensor) -> float:
    return float(((levels[nearest(ordered, levels)] - ordered).square() * often).sum())
