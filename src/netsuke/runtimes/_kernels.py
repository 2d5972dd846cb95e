"""How long onnxruntime takes for one layer: two small files that differ in nothing else."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from netsuke.core.kernels import Kernel, KernelFiles

FEW, MANY = 1, 3
"""Pairs of the layer in the two files. A pair goes to the outputs' channels and back, so that the
runtime lays out what is between as it does in a network."""
ROUNDS, CALLS, ENOUGH = 5, 5, 3e-3
"""Rounds in turns, and the least calls and CPU seconds of each."""
FASTEST = 0.2
"""The quantile of a round's calls that counts: others slow a call, nothing makes it faster."""


def files(kernel: Kernel) -> KernelFiles:
    """A file of one pair of layers and one of three: the mean of there and back is what is asked."""
    return KernelFiles((chain(kernel, FEW), chain(kernel, MANY)), 2 * (MANY - FEW))


def turns(sessions: Sequence[tuple[Any, dict[str, np.ndarray]]]) -> list[list[float]]:
    """Rounds of CPU seconds of one call of each, on one thread. sessions: each with what it is fed."""
    return [[_calls(*one) for one in sessions] for _ in range(ROUNDS)]


def _calls(session: Any, feed: dict[str, np.ndarray]) -> float:
    taken, spent = list[int](), 0
    session.run(None, feed)
    while len(taken) < CALLS or spent < ENOUGH * 1e9:
        start = time.process_time_ns()
        session.run(None, feed)
        taken.append(time.process_time_ns() - start)
        spent += taken[-1]
    return float(np.quantile(taken, FASTEST)) / 1e9


def chain(kernel: Kernel, pairs: int = FEW) -> bytes:
    """An ONNX file of layers with ReLU, one after the other, then a mean; integers between codings."""
    from onnx import TensorProto, helper

    nodes: list[Any] = []
    weights: list[Any] = []
    last, ends = "x", (kernel.inputs, kernel.outputs)
    for i in range(2 * pairs):
        inside, out = ends if i % 2 == 0 else ends[::-1]
        value = _value(kernel, inside, out)
        if kernel.bits == 8:
            last = _integers(f"{i}", last, value, nodes, weights)
        else:
            _hold(weights, {f"w{i}": value, f"b{i}": np.zeros(out, np.float32)})
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


def _shape(kernel: Kernel) -> tuple[int, ...]:
    if kernel.kind == "linear":
        return (kernel.side, kernel.inputs)
    return (1, kernel.inputs, kernel.side, kernel.side)


def _value(kernel: Kernel, inside: int, out: int) -> np.ndarray:
    """A layer's weights, drawn so that what goes through keeps its size."""
    shape = _weight(kernel, inside, out)
    draw = np.random.default_rng(0).standard_normal(shape) * (2 / np.prod(shape[1:])) ** 0.5
    return draw.astype(np.float32)


def _integers(i: str, last: str, value: np.ndarray, nodes: list[Any], weights: list[Any]) -> str:
    """What a layer of 8-bit integers reads, in the form that onnxruntime fuses (QDQ): a coded input
    whose zero is 0, so that ReLU is in the coding, coded
    weights with a scale a channel, a bias of 32 bits. Returns the input's name."""
    from onnx import helper

    scales = np.abs(value).reshape(len(value), -1).max(1).astype(np.float32) / 127
    codes = np.round(value / scales.reshape(-1, *[1] * (value.ndim - 1))).astype(np.int8)
    step = np.float32(6 / 255)
    _hold(weights, {
        f"s{i}": np.array(step), f"z{i}": np.array(0, np.uint8), f"q{i}": codes, f"t{i}": scales,
        f"n{i}": np.zeros(len(value), np.int32), f"u{i}": scales * step,
    })  # fmt: skip
    coding = [f"s{i}", f"z{i}"]
    nodes += [
        helper.make_node("QuantizeLinear", [last, *coding], [f"k{i}"]),
        helper.make_node("DequantizeLinear", [f"k{i}", *coding], [f"d{i}"]),
        helper.make_node("DequantizeLinear", [f"q{i}", f"t{i}"], [f"w{i}"], axis=0),
        helper.make_node("DequantizeLinear", [f"n{i}", f"u{i}"], [f"b{i}"], axis=0),
    ]
    return f"d{i}"


def _hold(weights: list[Any], values: dict[str, np.ndarray]) -> None:
    """Add arrays to a graph's constants."""
    from onnx import numpy_helper

    weights += [numpy_helper.from_array(np.asarray(v), name) for name, v in values.items()]


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
