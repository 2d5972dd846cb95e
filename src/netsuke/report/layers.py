"""Layers before and after: what was cut, in which bits the rest is held, and what it costs."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from netsuke.core.layer import Layer
from netsuke.report.text import UNKNOWN, shown, whole

SHOWN = 400
"""Rows a report lists at most: the dearest; the rest is counted, and is in report.json."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """``text`` is ``before → after``, or one figure where nothing changed."""

    text: str
    changed: bool = False


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One layer of the report's table. bar_before, bar_after: MACs in % of the dearest layer."""

    name: str
    op: str
    source: str
    channels: Change
    bits: Change
    parameters: Change
    macs: Change
    bar_before: float
    bar_after: float
    fate: str = ""


@dataclass(frozen=True, kw_only=True)
class LayerTable:
    """rows: in the network's order. light: operations left out, because they have neither weights
    nor MACs, or no MACs and were merged into a neighbour. rest: rows beyond what a report lists."""

    rows: tuple[LayerRow, ...] = ()
    light: int = 0
    rest: int = 0
    summary: tuple[tuple[str, str, str], ...] = ()


Pair = tuple[Layer | None, Layer | None]


def table(before: tuple[Layer, ...], after: tuple[Layer, ...]) -> LayerTable:
    """The layers of two artifacts side by side, matched by name, operation and order."""
    matched = pairs(before, after)
    heavy = [pair for pair in matched if _listed(pair, bool(before and after))]
    dearest = max((layer.macs for pair in heavy for layer in pair if layer), default=0)
    kept = set(sorted(range(len(heavy)), key=lambda i: -_weight(heavy[i]))[:SHOWN])
    return LayerTable(
        rows=tuple(
            _row(*pair, dearest, bool(before and after))
            for i, pair in enumerate(heavy)
            if i in kept
        ),
        light=len(matched) - len(heavy),
        rest=len(heavy) - len(kept),
        summary=summary(before, after),
    )


def pairs(before: Iterable[Layer], after: Iterable[Layer]) -> list[Pair]:
    """Each layer with what became of it, in the order of ``before``, then what is new."""
    old, new = _keyed(before), _keyed(after)
    return [(old.get(key), new.get(key)) for key in (*old, *(k for k in new if k not in old))]


def summary(
    before: tuple[Layer, ...], after: tuple[Layer, ...]
) -> tuple[tuple[str, str, str], ...]:
    """(what, before, after) of the whole network."""
    return (
        ("Parameters", _total(before, "weights"), _total(after, "weights")),
        ("MACs a sample", _macs(before), _macs(after)),
        ("Parameters held in", held(before), held(after)),
        ("Bits a parameter, mean", _mean_bits(before), _mean_bits(after)),
    )


def changes(before: tuple[Layer, ...], after: tuple[Layer, ...]) -> tuple[str, ...]:
    """What a step did to the network, in a few phrases; empty where layers are not known."""
    if not before or not after:
        return ()
    phrases = [
        _shrunk("parameters", sum(y.weights for y in before), sum(y.weights for y in after)),
        _shrunk("MACs", sum(y.macs for y in before), sum(y.macs for y in after)),
    ]
    both = [(b, a) for b, a in pairs(before, after) if b and a]
    narrowed = sum(b.channels != a.channels for b, a in both)
    if narrowed:
        phrases.append(f"channels changed in {narrowed} of {len(both)} layers")
    if held(before) != held(after):
        phrases.append(f"parameters in {held(after)}")
    gone = sum(a is None for _, a in pairs(before, after))
    if gone:
        phrases.append(f"{gone} operations removed or merged")
    return tuple(p for p in phrases if p)


def held(layers: Iterable[Layer]) -> str:
    """How the parameters are held: ``8 bit 99.70 %, 32 bit 0.30 %``."""
    bits: Counter[int] = Counter()
    for layer in layers:
        bits[layer.weight_bits] += layer.weights
    total = sum(bits.values())
    if not total:
        return UNKNOWN
    shares = [(b, count / total) for b, count in sorted(bits.items()) if count]
    if len(shares) == 1:
        return f"{shares[0][0]} bit"
    return ", ".join(f"{b} bit {shown(share, '%')}" for b, share in shares)


def _mean_bits(layers: tuple[Layer, ...]) -> str:
    total = sum(layer.weights for layer in layers)
    held_bits = sum(layer.weights * layer.weight_bits for layer in layers)
    return f"{held_bits / total:.2f}" if total else UNKNOWN


def macs(value: int) -> str:
    """``41.1 M``: a multiply-accumulate count without its unit."""
    return shown(value, "MAC").removesuffix("MACs").strip()


def _keyed(layers: Iterable[Layer]) -> dict[tuple[str, str, int], Layer]:
    """A module called twice gives its name twice, so the place among its like is part of the key."""
    seen: Counter[tuple[str, str]] = Counter()
    keyed = {}
    for layer in layers:
        like = (layer.name, layer.op)
        keyed[(*like, seen[like])] = layer
        seen[like] += 1
    return keyed


def _weight(pair: Pair) -> int:
    return max((layer.macs + layer.weights for layer in pair if layer), default=0)


def _listed(pair: Pair, comparable: bool) -> bool:
    """A batch normalization folded into its convolution is no news; a convolution gone is."""
    computes = any(layer.macs for layer in pair if layer)
    return computes or (_weight(pair) > 0 and (not comparable or all(pair)))


def _row(before: Layer | None, after: Layer | None, dearest: int, comparable: bool) -> LayerRow:
    """comparable: both artifacts' layers are known, so that a layer missing from one is news."""
    one = before or after
    assert one is not None, "a pair holds at least one layer"
    fate = "" if before and after else "removed or merged" if before else "added"
    return LayerRow(
        name=one.name,
        op=one.op,
        source=one.source,
        channels=_pair(before, after, _channels),
        bits=_pair(before, after, _bits),
        parameters=_pair(before, after, lambda y: whole(y.weights)),
        macs=_pair(before, after, lambda y: macs(y.macs)),
        bar_before=_share(before, dearest),
        bar_after=_share(after, dearest),
        fate=fate if comparable else "",
    )


def _pair(before: Layer | None, after: Layer | None, read: Callable[[Layer], str]) -> Change:
    texts = [read(layer) for layer in (before, after) if layer]
    if len(texts) == 2 and texts[0] != texts[1]:
        return Change(text=f"{texts[0]} → {texts[1]}", changed=True)
    return Change(text=texts[0])


def _channels(layer: Layer) -> str:
    wide = layer.channels != (0, 0)
    grouped = f" in {layer.groups} groups" if layer.groups > 1 else ""
    return f"{layer.channels[0]}×{layer.channels[1]}{grouped}" if wide else "none"


def _bits(layer: Layer) -> str:
    weights = f"w{layer.weight_bits} " if layer.weights else ""
    return f"{weights}a{layer.activation_bits}"


def _share(layer: Layer | None, dearest: int) -> float:
    return round(100 * layer.macs / dearest, 1) if layer and dearest else 0.0


def _total(layers: tuple[Layer, ...], field: str) -> str:
    return whole(sum(getattr(y, field) for y in layers)) if layers else UNKNOWN


def _macs(layers: tuple[Layer, ...]) -> str:
    return macs(sum(y.macs for y in layers)) if layers else UNKNOWN


def _shrunk(what: str, before: int, after: int) -> str:
    if before == after or not before:
        return ""
    text = macs if what == "MACs" else whole
    share = f"{100 * (after / before - 1):+.0f} %".replace("-", "−")
    return f"{what} {text(before)} → {text(after)} ({share})"
