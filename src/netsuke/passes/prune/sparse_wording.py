"""What pruning single weights says of what it did, layer by layer."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch.fx import GraphModule

from netsuke.nets.sparse.layers import value

BUYS = (
    "buys bytes of model.nsk, not time: onnxruntime multiplies by zeros as by any other number, and "
    "model.onnx stores them as such"
)
Table = Mapping[str, Mapping[str, Any]]


def summary(left: Table, pattern: str) -> str:
    """``−90.0 % of 851,392 weights: 85,139 left in 55 layers (12 … 58 % of each)``."""
    total, stay = (sum(row[key] for row in left.values()) for key in ("weights", "left"))
    shares = [100 * row["left"] / row["weights"] for row in left.values()]
    form = "" if pattern == "free" else f", {pattern}"
    return (
        f"−{100 * (1 - stay / total):.3g} % of {total:,} weights{form}: {stay:,} left in "
        f"{len(left)} layers ({min(shares):.3g} … {max(shares):.3g} % of each)"
    )


def changes(before: GraphModule, left: Table, criterion: str) -> Iterator[str]:
    """A line for each layer: what is left, and how its weights compared with all the others."""
    sizes = {name: float(value(before, name).abs().mean()) for name in left}
    weights = sum(row["weights"] for row in left.values())
    mean = sum(sizes[name] * row["weights"] for name, row in left.items()) / weights
    for name, row in left.items():
        share = 100 * row["left"] / row["weights"]
        size = sizes[name] / mean if mean else 0.0
        yield (
            f"{row['layer']}: {row['left']:,} of {row['weights']:,} weights left ({share:.3g} %) by "
            f"{criterion}; its weights were {size:.2g}× as large as the mean"
        )
