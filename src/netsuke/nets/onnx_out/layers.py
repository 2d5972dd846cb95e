"""ATen → ONNX: convolutions, products, attention, normalisation, pools, embeddings."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from netsuke.nets.graph import each_dimension
from netsuke.nets.onnx_out.build import Builder, Operation, UntranslatedError


def _conv(b: Builder, o: Operation) -> ir.Value:
    spatial = o.rank_of("input") - 2
    pads = o["padding"]
    mode = {"same": "SAME_UPPER", "valid": "VALID"}.get(pads) if isinstance(pads, str) else None
    if mode == "SAME_UPPER":
        # torch pads more at the end, as SAME_UPPER does; ONNX allows no dilation with it
        kernel, dilation = o.shape_of("weight")[2:], each_dimension(o["dilation"], spatial)
        total = [d * ((k or 1) - 1) for d, k in zip(dilation, kernel, strict=True)]
        both = [t // 2 for t in total] + [t - t // 2 for t in total]
    else:
        both = [0] * 2 * spatial if mode else each_dimension(pads, spatial) * 2
    return b(
        "Conv", o["input"], o["weight"], o["bias"],
        strides=each_dimension(o["stride"], spatial), pads=both,
        dilations=each_dimension(o["dilation"], spatial), group=o["groups"],
    )  # fmt: skip


def _conv_transpose(b: Builder, o: Operation) -> ir.Value:
    spatial = o.rank_of("input") - 2
    return b(
        "ConvTranspose", o["input"], o["weight"], o["bias"],
        strides=each_dimension(o["stride"], spatial), pads=each_dimension(o["padding"], spatial) * 2,
        dilations=each_dimension(o["dilation"], spatial), group=o["groups"],
        output_padding=each_dimension(o["output_padding"], spatial),
    )  # fmt: skip


def _linear(b: Builder, o: Operation) -> ir.Value:
    """Gemm where the input is a matrix; else a product, whose weight is the right way round."""
    x, weight, bias = o["input"], o["weight"], o["bias"]
    if o.rank_of("input") == 2:
        return b("Gemm", x, weight, bias, transB=1)
    product = b("MatMul", x, b("Transpose", weight, perm=[1, 0]))
    return product if bias is None else b("Add", product, bias)


def _matmul(b: Builder, o: Operation) -> ir.Value:
    other = "mat2" if o.name == "bmm" else "other"
    return b("MatMul", o["self"], o[other])


def _einsum(b: Builder, o: Operation) -> ir.Value:
    return b("Einsum", *o["tensors"], equation=o["equation"])


def _addmm(b: Builder, o: Operation) -> ir.Value:
    return b(
        "Gemm", o["mat1"], o["mat2"], o["self"], alpha=float(o["alpha"]), beta=float(o["beta"])
    )


def _attention(b: Builder, o: Operation) -> ir.Value:
    """softmax(q·kᵀ·scale + mask)·v."""
    rank, width = o.rank_of("query"), o.shape_of("query")[-1]
    if o["enable_gqa"] or width is None:
        raise UntranslatedError("grouped attention")
    scale = o["scale"] or 1 / math.sqrt(width)
    perm = [*range(rank - 2), rank - 1, rank - 2]
    query = b("Mul", o["query"], b.constant(np.array(scale, o.dtype)))
    scores = b("MatMul", query, b("Transpose", o["key"], perm=perm))
    mask = _mask(b, o)
    if mask is not None:
        scores = b("Add", scores, mask)
    return b("MatMul", b("Softmax", scores, axis=-1), o["value"])


def _mask(b: Builder, o: Operation) -> ir.Value | None:
    """What is added to the scores, or None."""
    least = float(np.finfo(o.dtype).min)
    if o["is_causal"]:
        queries, keys = o.shape_of("query")[-2], o.shape_of("key")[-2]
        if queries is None or keys is None:
            raise UntranslatedError("causal attention over a free length")
        return b.constant(np.triu(np.full((queries, keys), least, o.dtype), 1))
    if o["attn_mask"] is None or o.dtype_of("attn_mask") != np.bool_:
        given: ir.Value | None = o["attn_mask"]
        return given
    zero, far = (b.constant(np.array(v, o.dtype)) for v in (0.0, least))
    return b("Where", o["attn_mask"], zero, far)


def _batch_norm(b: Builder, o: Operation) -> ir.Value:
    given = [o[k] for k in ("weight", "bias", "running_mean", "running_var")]
    if o["training"] or None in given:
        raise UntranslatedError("normalisation by the batch, or without weights")
    return b("BatchNormalization", o["input"], *given, epsilon=o["eps"])


def _layer_norm(b: Builder, o: Operation) -> ir.Value:
    shape = tuple(o.static("normalized_shape"))
    weight = o["weight"] if o["weight"] is not None else b.constant(np.ones(shape, o.dtype))
    return b(
        "LayerNormalization", o["input"], weight, o["bias"], axis=-len(shape), epsilon=o["eps"]
    )


def _group_norm(b: Builder, o: Operation) -> ir.Value:
    if o["weight"] is None or o["bias"] is None:
        raise UntranslatedError("group normalisation without weights")
    return b(
        "GroupNormalization", o["input"], o["weight"], o["bias"],
        num_groups=o["num_groups"], epsilon=o["eps"],
    )  # fmt: skip


def _instance_norm(b: Builder, o: Operation) -> ir.Value:
    if not o["use_input_stats"]:
        raise UntranslatedError("instance normalisation by kept statistics")
    width = o.shape_of("input")[1]
    assert width is not None  # channels never change with the batch
    given = (o["weight"], o["bias"])
    scale, shift = (
        b.constant(np.full(width, v, o.dtype)) if x is None else x
        for x, v in zip(given, (1, 0), strict=True)
    )
    return b("InstanceNormalization", o["input"], scale, shift, epsilon=o["eps"])


def _max_pool(b: Builder, o: Operation) -> ir.Value:
    spatial = _spatial(o)
    kernel = each_dimension(o["kernel_size"], spatial)
    return b(
        "MaxPool", o["self"], kernel_shape=kernel,
        strides=each_dimension(o["stride"], spatial) if o["stride"] else kernel,
        pads=each_dimension(o["padding"], spatial) * 2, dilations=each_dimension(o["dilation"], spatial),
        ceil_mode=int(o["ceil_mode"]),
    )  # fmt: skip


def _avg_pool(b: Builder, o: Operation) -> ir.Value:
    spatial = _spatial(o)
    if o["divisor_override"] is not None:
        raise UntranslatedError("divisor_override")
    kernel = each_dimension(o["kernel_size"], spatial)
    return b(
        "AveragePool", o["self"], kernel_shape=kernel,
        strides=each_dimension(o["stride"], spatial) if o["stride"] else kernel,
        pads=each_dimension(o["padding"], spatial) * 2, ceil_mode=int(o["ceil_mode"]),
        count_include_pad=int(o["count_include_pad"]),
    )  # fmt: skip


def _adaptive_avg_pool(b: Builder, o: Operation) -> ir.Value:
    wanted, spatial = list(o.static("output_size")), _spatial(o)
    sizes = o.shape_of("self")[-spatial:]
    if len(o.shape) != spatial + 2:
        raise UntranslatedError("no batch")
    if all(w == 1 for w in wanted):
        return b("GlobalAveragePool", o["self"])
    if any(s is None or s % w for s, w in zip(sizes, wanted, strict=True)):
        raise UntranslatedError("pools of unequal size")
    kernel = [(s or 0) // w for s, w in zip(sizes, wanted, strict=True)]
    return b("AveragePool", o["self"], kernel_shape=kernel, strides=kernel)


def _mean(b: Builder, o: Operation) -> ir.Value:
    """The mean over an image is a pool, which runtimes have an integer kernel for."""
    if o["dtype"] is not None:
        raise UntranslatedError("dtype")
    dims, rank = sorted(o.dims("dim")) if o["dim"] else None, o.rank_of("self")
    if rank != 4 or dims != [2, 3]:
        axes = b.ints(dims if dims is not None else range(rank))
        return b("ReduceMean", o["self"], axes, keepdims=int(bool(o["keepdim"])))
    pooled = b("GlobalAveragePool", o["self"])
    return pooled if o["keepdim"] else b("Squeeze", pooled, b.ints([2, 3]))


def _sum(b: Builder, o: Operation) -> ir.Value:
    if o["dtype"] is not None:
        raise UntranslatedError("dtype")
    axes = b.ints(sorted(o.dims("dim")) if o["dim"] else range(o.rank_of("self")))
    return b("ReduceSum", o["self"], axes, keepdims=int(bool(o["keepdim"])))


def _length(b: Builder, o: Operation) -> ir.Value:
    """The norm of vectors along some dimensions."""
    kind = {1: "ReduceL1", 2: "ReduceL2"}.get(o.static("ord"))
    if kind is None or o["dtype"] is not None:
        raise UntranslatedError("a norm of this order")
    axes = b.ints(sorted(o.dims("dim")) if o["dim"] else range(o.rank_of("self")))
    return b(kind, o["self"], axes, keepdims=int(bool(o["keepdim"])))


def _cumsum(b: Builder, o: Operation) -> ir.Value:
    (dim,) = o.dims("dim")
    x = o["self"]
    if o.dtype_of("self") != o.dtype:
        x = b("Cast", x, to=int(ir.DataType.from_numpy(o.dtype)))
    return b("CumSum", x, b.constant(np.array(dim)))


def _embedding(b: Builder, o: Operation) -> ir.Value:
    return b("Gather", o["weight"], o["indices"], axis=0)


def _softmax(b: Builder, o: Operation) -> ir.Value:
    if o["dtype"] is not None:
        raise UntranslatedError("dtype")
    kind = "LogSoftmax" if o.name == "log_softmax" else "Softmax"
    return b(kind, o["self"], axis=o["dim"])


def _spatial(o: Operation) -> int:
    """2 for ``max_pool2d``."""
    return int(o.name[-2])


TABLE: dict[str, Callable[[Builder, Operation], Any]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _conv),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d"), _conv_transpose),
    "linear": _linear,
    **dict.fromkeys(("matmul", "bmm"), _matmul),
    "addmm": _addmm,
    "einsum": _einsum,
    "scaled_dot_product_attention": _attention,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d"), _max_pool),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d"), _avg_pool),
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_avg_pool2d"), _adaptive_avg_pool),
    "mean": _mean,
    "sum": _sum,
    "linalg_vector_norm": _length,
    "cumsum": _cumsum,
    "embedding": _embedding,
    **dict.fromkeys(("softmax", "log_softmax"), _softmax),
}
