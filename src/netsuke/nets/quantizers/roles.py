"""What each operation is to a quantizer: the one table that placement reads.

Two facts of integer runtimes are behind it. A clip is free behind an operation that rounds, because
rounding saturates anyway; and an operation that only moves data can move integers, so its output
has the encoding of its input.
"""

from torch.fx import Node

from netsuke.nets import graph

CLIPS = frozenset({"relu", "relu6", "hardtanh", "clamp", "clamp_min", "clamp_max"})

MOVES = frozenset({
    "adaptive_max_pool2d", "alias", "alpha_dropout", "cat", "channel_shuffle", "chunk", "clone",
    "concat", "concatenate", "contiguous", "detach", "dropout", "expand", "expand_as",
    "feature_dropout", "flatten", "flip", "max_pool1d", "max_pool2d", "max_pool3d", "movedim",
    "narrow", "permute", "pixel_shuffle", "pixel_unshuffle", "reflection_pad2d", "repeat",
    "replication_pad2d", "reshape", "roll", "select", "slice", "split", "split_with_sizes", "squeeze",
    "stack", "swapaxes", "t", "transpose", "unbind", "unflatten", "unsqueeze", "upsample_nearest2d",
    "view", "view_as",
})  # fmt: skip

JOINS = frozenset({"cat", "concat", "concatenate", "stack"})
"""Moves that bring several values into one."""

WEIGHTED = frozenset({"conv1d", "conv2d", "conv3d", "linear"})
"""Operations of (input, weight, bias) with integer kernels; the weight's channels come first."""

READS_WEIGHT = {**dict.fromkeys(WEIGHTED, 1), "embedding": 0}
"""Operations whose weight can be coded on its own, and which argument it is."""

PRODUCTS = frozenset({"matmul", "bmm"})

POOLS = frozenset({"mean", "adaptive_avg_pool2d", "avg_pool2d"})

FOLLOWERS = frozenset({"add", "mul", "sigmoid", *POOLS})
"""Have integer kernels, which pay only between other integers."""

FREE_FLOAT = frozenset({"linear", *PRODUCTS})
"""Integer kernels that give their sum as a float at no cost."""


def op(node: Node) -> str:
    """The plain name of the operation, in place or not: ``relu`` for ``relu_``."""
    name = graph.op(node)
    return name if name.endswith("__") else name.removesuffix("_")


def moves(node: Node) -> bool:
    """Whether the node's values are its inputs' values, or zeros, in other places."""
    name = op(node)
    if name == "operator.getitem":
        return moves(node.args[0])  # type: ignore[arg-type]
    if name == "pad":
        return graph.argument(node, "mode") != "constant" or not graph.argument(node, "value")
    if name == "constant_pad_nd":
        return not graph.argument(node, "value")
    return name in MOVES


def clips(node: Node) -> bool:
    """Whether the node limits its input to two fixed numbers."""
    return op(node) in CLIPS and not any(isinstance(a, Node) for a in node.args[1:])


def rounds(node: Node) -> bool:
    """Whether the node should run on integers whatever is around it."""
    name = op(node)
    if name in WEIGHTED:
        weight = node.args[1]
        return isinstance(weight, Node) and weight.op == "get_attr"
    return name in PRODUCTS


def follows(node: Node, rank: int) -> bool:
    """Whether the node can run on integers between integers. rank: dimensions of its first input."""
    name = op(node)
    if name in ("add", "mul"):
        both = all(isinstance(a, Node) for a in node.args[:2])
        return both and graph.argument(node, "alpha", 1) == 1
    if name == "mean":
        dims = graph.argument(node, "dim")
        return rank == 4 and dims is not None and sorted(d % 4 for d in dims) == [2, 3]
    if name == "adaptive_avg_pool2d":
        return tuple(graph.argument(node, "output_size")) == (1, 1)
    return name in FOLLOWERS
