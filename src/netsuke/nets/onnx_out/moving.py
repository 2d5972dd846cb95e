"""ATen → ONNX: operations that move data."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from netsuke.nets import graph
from netsuke.nets.onnx_out.build import OTHER, Builder, Operation, UntranslatedError

FAR = 2**62
"""Beyond any size: ``x[a:]``."""


def _nothing(b: Builder, o: Operation) -> ir.Value:
    return o["self"] if o["self"] is not None else o["input"]


def _reshape(b: Builder, o: Operation) -> ir.Value:
    """To the shape of the result, in which at most one size may change with the batch."""
    given = "self" if o["self"] is not None else "input"
    if o.shape_of(given) == o.shape:
        return o[given]
    return b("Reshape", o[given], b.ints(_sizes(o.shape)))


def _permute(b: Builder, o: Operation) -> ir.Value:
    return b("Transpose", o["self"], perm=o.dims("dims"))


def _transpose(b: Builder, o: Operation) -> ir.Value:
    perm = list(range(o.rank_of("self")))
    first, second = (
        (o.dims("dim0") + o.dims("dim1")) if o["dim0"] is not None else (0, len(perm) - 1)
    )
    perm[first], perm[second] = perm[second], perm[first]
    return o["self"] if first == second else b("Transpose", o["self"], perm=perm)


def _slice(b: Builder, o: Operation) -> ir.Value:
    (dim,) = o.dims("dim")
    start, end, step = o.static("start") or 0, o.static("end"), o.static("step")
    end = FAR if end is None else min(end, FAR)
    if (start, step) == (0, 1) and end == FAR:
        return o["self"]
    return b("Slice", o["self"], b.ints([start]), b.ints([end]), b.ints([dim]), b.ints([step]))


def _select(b: Builder, o: Operation) -> ir.Value:
    (dim,) = o.dims("dim")
    return b("Gather", o["self"], b.constant(np.array(o.static("index"), np.int64)), axis=dim)


def _cat(b: Builder, o: Operation) -> ir.Value:
    return b("Concat", *o["tensors"], axis=o["dim"])


def _stack(b: Builder, o: Operation) -> ir.Value:
    dim = o["dim"] % len(o.shape)
    return b("Concat", *(b("Unsqueeze", t, b.ints([dim])) for t in o["tensors"]), axis=dim)


def _split(b: Builder, o: Operation) -> Sequence[ir.Value]:
    (dim,) = o.dims("dim")
    size = o.shape_of("self")[dim]
    if size is None:
        raise UntranslatedError("splits the batch")
    if o["chunks"] is not None:
        each: Any = -(-size // o["chunks"])
    else:
        each = o.static("split_size") if o["split_size"] is not None else o.static("split_sizes")
    parts = list(each) if isinstance(each, list | tuple) else _pieces(size, each)
    return b.several("Split", len(parts), o["self"], b.ints(parts), axis=dim)


def _pieces(size: int, each: int) -> list[int]:
    return [min(each, size - start) for start in range(0, size, each)]


def _unbind(b: Builder, o: Operation) -> Sequence[ir.Value]:
    (dim,) = o.dims("dim")
    size = o.shape_of("self")[dim]
    if size is None:
        raise UntranslatedError("splits the batch")
    parts = b.several("Split", size, o["self"], b.ints([1] * size), axis=dim)
    return [b("Squeeze", p, b.ints([dim])) for p in parts]


def _index(b: Builder, o: Operation) -> ir.Value:
    """x[i, j, …] with tensors of whole numbers for the first dimensions."""
    nodes = [n for n in graph.argument(o.node, "indices") if n is not None]
    given = [o.values[n] for n in nodes]
    if None in o["indices"][: len(nodes)] or any(o.dtypes[n.name] != np.int64 for n in nodes):
        raise UntranslatedError("an index of this kind")
    if len(given) == 1:
        return b("Gather", o["self"], given[0], axis=0)
    common = o.shape[: len(o.shape) - (o.rank_of("self") - len(given))]
    sizes, last = b.sizes(common, o.first), b.ints([-1])
    places = [b("Unsqueeze", b("Expand", i, sizes), last) for i in given]
    return b("GatherND", o["self"], b("Concat", *places, axis=-1))


def _pad(b: Builder, o: Operation) -> ir.Value:
    given = o["mode"] or "constant"
    modes = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    pads, rank = list(o.static("pad")), o.rank_of("self")
    begin, end = [0] * rank, [0] * rank
    for i in range(len(pads) // 2):
        begin[rank - 1 - i], end[rank - 1 - i] = pads[2 * i], pads[2 * i + 1]
    value = b.constant(np.array(o["value"], o.dtype)) if o["value"] else None
    return b("Pad", o["self"], b.ints(begin + end), value, mode=modes[given])


def _expand(b: Builder, o: Operation) -> ir.Value:
    before = (1,) * (len(o.shape) - o.rank_of("self")) + tuple(o.shape_of("self"))
    pairs = zip(before, o.shape, strict=True)
    wanted = tuple(1 if have == want else want for have, want in pairs)  # 1 keeps the size there is
    if all(size == 1 for size in wanted) and len(wanted) == o.rank_of("self"):
        return o["self"]
    return b("Expand", o["self"], b.sizes(wanted, o.first))


def _repeat(b: Builder, o: Operation) -> ir.Value:
    """Tile, or where only dimensions of size 1 grow, Expand, which takes the batch too."""
    before = (1,) * (len(o.shape) - o.rank_of("self")) + tuple(o.shape_of("self"))
    if all(have in (1, want) for have, want in zip(before, o.shape, strict=True)):
        return _expand(b, o)
    return b("Tile", b("Reshape", o["self"], b.ints(_sizes(before))), b.ints(o.static("repeats")))


def _sizes(shape: Sequence[int | None]) -> list[int]:
    """For Reshape, where one size may be free."""
    if sum(s in (None, OTHER) for s in shape) > 1:
        raise UntranslatedError("several sizes change with the batch")
    return [-1 if s in (None, OTHER) else int(s or 0) for s in shape]


def _roll(b: Builder, o: Operation) -> ir.Value:
    """The end goes to the front, dimension by dimension."""
    if not o.static("dims"):
        raise UntranslatedError("rolls all elements in a row")
    x = o["self"]
    for shift, dim in zip(o.static("shifts"), o.dims("dims"), strict=True):
        size = o.shape[dim]
        if size is None or size == OTHER:
            raise UntranslatedError("rolls the batch")
        at, axis = b.ints([size - shift % size]), b.ints([dim])
        end = b("Slice", x, at, b.ints([FAR]), axis)
        x = b("Concat", end, b("Slice", x, b.ints([0]), at, axis), axis=dim)
    return x


def _pixel_shuffle(b: Builder, o: Operation) -> ir.Value:
    if o.rank_of("self") != 4:
        raise UntranslatedError("no batch")
    return b("DepthToSpace", o["self"], blocksize=o.static("upscale_factor"), mode="CRD")


def _diff(b: Builder, o: Operation) -> ir.Value:
    """x[1:] − x[:-1], with what is put before it."""
    if o.static("n") != 1 or o["append"] is not None or o.dtype_of("self") == np.bool_:
        raise UntranslatedError("a difference of this kind")
    (dim,) = o.dims("dim")
    before = o["prepend"]
    x = o["self"] if before is None else b("Concat", before, o["self"], axis=dim)
    start, axis = b.ints([0]), b.ints([dim])
    late = b("Slice", x, b.ints([1]), b.ints([FAR]), axis)
    return b("Sub", late, b("Slice", x, start, b.ints([-1]), axis))


def _fill(b: Builder, o: Operation) -> ir.Value:
    """A tensor of one number, as long as the batch."""
    number = {"zeros": 0, "ones": 1}.get(o.name.removesuffix("_like").removeprefix("new_"))
    if number is None:
        number = o.static("fill_value")
    sizes = b.sizes(o.shape, o.first)
    return b("Expand", b.constant(np.array(number, o.dtype)), sizes)


def _arange(b: Builder, o: Operation) -> ir.Value:
    """0 … batch − 1; what is fixed has become a constant."""
    if o["start"] or (o["step"] or 1) != 1 or o.shape != (None,) or o.dtype != np.int64:
        raise UntranslatedError("a range that is not the batch's")
    count = b("Squeeze", b.sizes(o.shape, o.first))
    return b("Range", *(b.constant(np.array(0)), count, b.constant(np.array(1))))


def _upsample_nearest(b: Builder, o: Operation) -> ir.Value:
    (h, w), (oh, ow) = o.shape_of("input" if o["input"] is not None else "self")[-2:], o.shape[-2:]
    if not h or not w or not oh or not ow or oh % h or ow % w:
        raise UntranslatedError("not a whole factor")
    scales = b.constant(np.array([1, 1, oh / h, ow / w], np.float32))
    return b(
        "Resize", _nothing(b, o), None, scales, mode="nearest",
        coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip


def _upsample_bilinear(b: Builder, o: Operation) -> ir.Value:
    sizes = b.sizes(o.shape, o.first)
    mode = "align_corners" if o["align_corners"] else "half_pixel"
    # torch's filter weighs what is inside the picture alone.
    filtered = o.name == "_upsample_bilinear2d_aa"
    aliased = {"antialias": 1, "exclude_outside": 1} if filtered else {}
    return b(
        "Resize", _nothing(b, o), None, None, sizes, mode="linear",
        coordinate_transformation_mode=mode, **aliased,
    )  # fmt: skip


def _getitem(b: Builder, o: Operation) -> ir.Value:
    many, index = o.node.args
    return o.values[many][index]  # type: ignore[index]


FILLS = (
    "zeros", "ones", "full", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full",
)  # fmt: skip
TABLE: dict[str, Callable[[Builder, Operation], Any]] = {
    **dict.fromkeys(
        ("alias", "clone", "contiguous", "detach", "dropout", "feature_dropout", "alpha_dropout"),
        _nothing,
    ),
    **dict.fromkeys(
        ("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as"), _reshape
    ),
    "permute": _permute,
    **dict.fromkeys(("transpose", "swapaxes", "t"), _transpose),
    "slice": _slice,
    "select": _select,
    "index": _index,
    **dict.fromkeys(("cat", "concat", "concatenate"), _cat),
    "stack": _stack,
    **dict.fromkeys(("chunk", "split", "split_with_sizes"), _split),
    "unbind": _unbind,
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    **dict.fromkeys(("expand", "expand_as"), _expand),
    "repeat": _repeat,
    "roll": _roll,
    "pixel_shuffle": _pixel_shuffle,
    "diff": _diff,
    **dict.fromkeys(FILLS, _fill),
    "arange": _arange,
    **dict.fromkeys(("upsample_bilinear2d", "_upsample_bilinear2d_aa"), _upsample_bilinear),
    "upsample_nearest2d": _upsample_nearest,
    "operator.getitem": _getitem,
}
