"""Padding and resizing."""

from netsuke.nets.onnx_in.build import Builder, aten
from netsuke.nets.onnx_in.call import Call, Handler, plain
from netsuke.nets.onnx_in.values import Size, UnreadableError, Value

NEAREST = (aten.upsample_nearest1d.vec, aten.upsample_nearest2d.vec, aten.upsample_nearest3d.vec)
LINEAR = (aten.upsample_linear1d.vec, aten.upsample_bilinear2d.vec, aten.upsample_trilinear3d.vec)
PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def pad(b: Builder, n: Call) -> Value:
    x, mode = n.value(0), n.attr("mode", "constant")
    given = plain(n.ints(1, "pads"))
    axes = [a % x.rank for a in plain(n.ints(3), list(range(x.rank)))]
    around = {a: (given[i], given[i + len(axes)]) for i, a in enumerate(axes)}
    last = min((a for a, pair in around.items() if any(pair)), default=x.rank)
    if last == x.rank:
        return x
    sides = [p for a in reversed(range(last, x.rank)) for p in around.get(a, (0, 0))]
    fill = (float(n.number(2, "value", 0.0)),) if mode == "constant" else ()
    return b.call(aten.pad.default, x, sides, PAD_MODES[mode], *fill)


def depth_to_space(b: Builder, n: Call) -> Value:
    if n.attr("mode", "DCR") != "CRD":
        raise UnreadableError("which orders its channels as depth, column, row")
    return b.call(aten.pixel_shuffle.default, n.value(0), n.attr("blocksize"))


def resize(b: Builder, n: Call) -> Value:
    """Nearest and linear, by the coordinates that torch has too."""
    x, mode = n.value(0), n.attr("mode", "nearest")
    old = n.op == "Upsample" or n.opset < 11
    place = "asymmetric" if old else n.attr("coordinate_transformation_mode", "half_pixel")
    scales = _scales(b, n, x, 1 if old else 2)
    if any(s != 1 for s in scales[:2]) or n.attr("axes") or not 3 <= x.rank <= 5:
        raise UnreadableError("which resizes other dimensions than the image's")
    size = [round(d * s + 1e-6 - 0.5) for d, s in zip(x.shape[2:], scales[2:], strict=True)]
    if n.attr("antialias", 0) and mode != "linear":
        raise UnreadableError(f"which filters by {mode}")
    if mode == "nearest":
        rounding = "floor" if old else n.attr("nearest_mode", "round_prefer_floor")
        whole = all(float(s).is_integer() for s in scales)
        if (place, rounding) != ("asymmetric", "floor") and not (place == "half_pixel" and whole):
            raise UnreadableError(f"which rounds coordinates by {place}, {rounding}")
        return b.call(NEAREST[x.rank - 3], x, size, None)
    if mode != "linear" or place not in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        raise UnreadableError(f"which interpolates by {mode}, {place}")
    if n.attr("antialias", 0):
        if x.rank != 4 or not n.attr("exclude_outside", 0):
            raise UnreadableError("which filters by what is outside the picture, or no picture")
        return b.call(aten._upsample_bilinear2d_aa.default, x, size, place == "align_corners")
    return b.call(LINEAR[x.rank - 3], x, size, place == "align_corners", None)


def _scales(b: Builder, n: Call, x: Value, index: int) -> list[float]:
    """By how much each dimension grows; sizes, where given, say it exactly."""
    if "scales" in n.attributes:
        return list(n.attr("scales"))
    if n.has(3):
        # What follows the batch keeps it, though a file with a batch of one has a number there.
        free = [isinstance(b.size(x, d), Size) for d in range(x.rank)]
        pairs = zip(free, n.ints(3) or [], x.shape, strict=True)
        sizes = plain([d if follows else s for follows, s, d in pairs])
        return [s / d for s, d in zip(sizes, x.shape, strict=True)]
    return list(map(float, n.constant(index).tolist()))


TABLE: dict[str, Handler] = {
    "DepthToSpace": depth_to_space,
    "Pad": pad,
    "Resize": resize,
    "Upsample": resize,
}
