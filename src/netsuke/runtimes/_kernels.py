"""How long onnxruntime takes for one layer: two small files that differ in nothing else."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from netsuke.core.kernels import Kernel

FEW, MANY = 1, 3
"""Pairs of the layer in the two files. A pair goes to the outputs' channels and back, so that the
runtime lays out what is between as it does in a network."""
ROUNDS, CALLS, ENOUGH = 5, 5, 3e-3
"""Rounds in turns, and the least calls and CPU seconds of each."""
FASTEST = 0.2
"""The quantile of a round's calls that counts: others slow a call, nothing makes it faster."""


def kernel_seconds(kernel: Kernel, load: Callable[[bytes], Any]) -> float:
    """CPU seconds of one call on one thread, the mean of there and back. load: content → a session."""
    few, many = (load(_chain(kernel, pairs)) for pairs in (FEW, MANY))
    x = np.random.default_rng(0).standard_normal(_shape(kernel)).astype(np.float32)
    found = [_calls(many, x) - _calls(few, x) for _ in range(ROUNDS)]
    each = float(np.median(found)) / (2 * (MANY - FEW))
    return max(each, 1e-8)


def _calls(session: Any, x: np.ndarray) -> float:
    feed, taken, spent = {"x": x}, list[int](), 0
    session.run(None, feed)
    while len(taken) < CALLS or spent < ENOUGH * 1e9:
        start = time.process_time_ns()
        session.run(None, feed)
        taken.append(time.process_time_ns() - start)
        spent += taken[-1]
    return float(np.quantile(taken, FASTEST)) / 1e9


def _shape(kernel: Kernel) -> tuple[int, ...]:
    if kernel.kind == "linear":
        return (kernel.side, kernel.inputs)
    return (1, kernel.inputs, kernel.side, kernel.side)


def _chain(kernel: Kernel, pairs: int) -> bytes:
    """Layers with ReLU, one after the other, then a mean."""
    from onnx import TensorProto, helper, numpy_helper

    draw = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    ends = (kernel.inputs, kernel.outputs)
    for i in range(2 * pairs):
        inside, out = ends if i % 2 == 0 else ends[::-1]
        shape = _weight(kernel, inside, out)
        weight = draw.standard_normal(shape) * (2 / np.prod(shape[1:])) ** 0.5
        weights += [
            numpy_helper.from_array(weight.astype(np.float32), f"w{i}"),
            numpy_helper.from_array(np.zeros(out, np.float32), f"b{i}"),
        ]
        op, settings = _operation(kernel, inside)
        nodes += [
            helper.make_node(op, [last, f"w{i}", f"b{i}"], [f"c{i}"], **settings),
            helper.make_node("Relu", [f"c{i}"], [f"r{i}"]),
        ]
        last = f"r{i}"
    mean = "ReduceMean" if kernel.kind == "linear" else "GlobalAveragePool"
    nodes.append(helper.make_node(mean, [last], ["y"]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, _shape(kernel))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "kernel", [x], [y], weights)
    opset = [helper.make_opsetid("", 21)]
    content: bytes = helper.make_model(
        graph, opset_imports=opset, ir_version=10
    ).SerializeToString()
    return content


def _weight(kernel: Kernel, inside: int, out: int) -> tuple[int, ...]:
    if kernel.kind == "linear":
        return (out, inside)
    return (out, 1 if kernel.kind == "depthwise" else inside, *kernel.size)


def _operation(kernel: Kernel, inside: int) -> tuple[str, dict[str, Any]]:
    """The ONNX operation and its attributes."""
    if kernel.kind == "linear":
        return "Gemm", {"transB": 1}
    high, wide = kernel.size
    pads = [(high - 1) // 2, (wide - 1) // 2, high // 2, wide // 2]
    return "Conv", {"pads": pads, "group": inside if kernel.kind == "depthwise" else 1}
