"""Figure 8 of pruning: the stored weights against their entropy and zstd, and the packer's speed."""

import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench._harness import Bench, Claim, Figure, MissingDataError, say, timed

if TYPE_CHECKING:
    from torch import nn

    from netsuke.packer.layout import Block

RESNET56 = "resnet_cifar10/resnet56_jpeg.safetensors"
RECIPES = {
    "INT8": '[[pass]]\nuse = "quantize.static"\n',
    "INT4": '[[pass]]\nuse = "quantize.static"\nweights = 4\n',
}
PRUNED = 0.9
LEAST = 1024
"""Bytes of a tensor of integers from which it is counted as weights."""
ROUNDS = 5
SLACK = 2000
LEVEL = 19


@dataclass(frozen=True)
class Stored:
    """Bytes of a file's integer weights. weights: how many. entropy: of order 0, tensor by tensor.
    stored: their sections in model.nsk and its whole header. zstd: of all of them in one stream."""

    weights: int
    entropy: float
    stored: int
    zstd: int

    @property
    def beyond(self) -> float:
        """Bytes beyond 1.02 × the entropy."""
        return self.stored - 1.02 * self.entropy


def packer(bench: Bench) -> Figure:
    """The figure."""
    if shutil.which("zstd") is None:
        raise MissingDataError("no zstd command; install it")
    files = _files(bench)
    found = {name: _stored(bench, path) for name, path in files.items()}
    speed = _speed(bench, files["MiniLM-L6, INT8"])
    claims = (
        Claim("stored beyond 1.02 × entropy, the most", max(s.beyond for s in found.values()), "B", "≤", SLACK),
        Claim(f"stored ÷ zstd −{LEVEL}, the most", max(s.stored / s.zstd for s in found.values()), "x", "<", 1.0),
        Claim("packs FP32 weights at", speed["pack"], "MB/s", "≥", 50.0),
        Claim("unpacks FP32 weights at", speed["unpack"], "MB/s", "≥", 50.0),
    )  # fmt: skip
    details: dict[str, Any] = {
        name: {**asdict(one), "of_entropy": one.stored / one.entropy, "of_zstd": one.stored / one.zstd}
        for name, one in found.items()
    }  # fmt: skip
    notes = (
        f"speed: CPU time of packing a file of {int(speed['weights']):,} INT8 weights and back, 4 bytes "
        f"each, the best of {int(speed['rounds'])} rounds",
        f"{PRUNED:.0%} pruned is by magnitude in each tensor, not retrained: its bytes alone count",
    )
    return Figure("the stored form", claims, len(found), {**details, "speed": speed}, notes)


def _files(bench: Bench) -> dict[str, Path]:
    """Networks quantized by Netsuke, as ONNX."""
    from bench._apply import apply
    from bench._minilm import minilm, sst2
    from bench._setup import network, post_training

    images, found = post_training(bench), {}
    nets = {
        "": network(bench, RESNET56),
        f", {PRUNED:.0%} pruned": _pruned(network(bench, RESNET56)),
    }
    for kind, net in nets.items():
        for name, recipe in list(RECIPES.items())[: bench.count(len(RECIPES), 1)]:
            say(f"quantizing ResNet-56, {name}{kind}")
            key = f"packer-{name}{'-pruned' if kind else ''}"
            found[f"ResNet-56, {name}{kind}"] = apply(bench, net, (recipe, images), key).path
    say("quantizing MiniLM, INT8")
    text = (RECIPES["INT8"], sst2(bench))
    found["MiniLM-L6, INT8"] = apply(bench, minilm(bench), text, "packer-minilm").path
    return found


def _pruned(net: "nn.Module") -> "nn.Module":
    """The network without the smallest weights of each convolution and linear layer."""
    import torch

    for parameter in net.parameters():
        if parameter.dim() > 1:
            size = parameter.detach().abs()
            limit = size.flatten().kthvalue(int(PRUNED * size.numel())).values
            with torch.no_grad():
                parameter.mul_(size > limit).add_(0.0)
    return net


def _stored(bench: Bench, path: Path) -> Stored:
    """One file packed, its weights beside what zstd makes of them."""
    from netsuke.packer import packed
    from netsuke.packer.base import content_of
    from netsuke.packer.header import write_header
    from netsuke.packer.layout import planned
    from netsuke.packer.wire import tensors

    made = packed(path)
    with content_of(path) as content:
        blocks = planned(tensors(content)).blocks
        chosen = {n: _values(content, b) for n, b in enumerate(blocks, 1) if _is_weight(b)}
    payloads = sum(len(made.payloads[number]) for number in chosen)
    plain = bench.folder("packer") / "weights.bin"
    plain.write_bytes(b"".join(values.tobytes() for values in chosen.values()))
    done = subprocess.run(
        ["zstd", f"-{LEVEL}", "-q", "-c", str(plain)], capture_output=True, check=True
    )
    return Stored(
        weights=sum(len(values) for values in chosen.values()),
        entropy=sum(_entropy(values) for values in chosen.values()),
        stored=payloads + len(write_header(made.header)),
        zstd=len(done.stdout),
    )


def _is_weight(block: "Block") -> bool:
    kind = block.spans[0].tensor.dtype
    return kind in ("int8", "uint8", "int4", "uint4") and block.form.size >= LEAST


def _values(content: memoryview, block: "Block") -> np.ndarray:
    from netsuke.packer.block import elements

    return elements(
        b"".join(bytes(content[s.start : s.start + s.size]) for s in block.spans), block.form
    )


def _entropy(values: np.ndarray) -> float:
    """Bytes of these integers at their order-0 entropy."""
    counts = np.bincount(values)
    counts = counts[counts > 0]
    return float((counts * np.log2(counts.sum() / counts)).sum()) / 8


def _speed(bench: Bench, path: Path) -> dict[str, float]:
    """MB/s of the FP32 weights that a file of nothing but integer weights stands for."""
    from netsuke.packer import pack, unpack

    folder = bench.folder("packer")
    alone, stored, back = (folder / f"alone.{end}" for end in ("onnx", "nsk", "back.onnx"))
    weights = _only_integers(path, alone)
    seconds: dict[str, list[float]] = {"pack": [], "unpack": []}
    rounds = bench.count(ROUNDS, 2)
    for _ in range(rounds):
        with timed() as spent:
            pack(alone, stored)
        seconds["pack"].append(spent.seconds["cpu"])
        with timed() as spent:
            unpack(stored, back)
        seconds["unpack"].append(spent.seconds["cpu"])
    if back.read_bytes() != alone.read_bytes():
        raise RuntimeError("the file that was unpacked is not the one that was packed")
    rates = {name: 4e-6 * weights / min(times) for name, times in seconds.items()}
    slowest = {f"{name}_slowest": 4e-6 * weights / max(times) for name, times in seconds.items()}
    return {**rates, **slowest, "weights": weights, "rounds": rounds}


def _only_integers(path: Path, target: Path) -> int:
    """A model with the file's INT8 weights and nothing else, written; how many weights."""
    import onnx

    model = onnx.load(str(path))
    kept = [
        tensor
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.raw_data) >= LEAST
    ]
    graph = onnx.GraphProto(name="weights", initializer=kept)
    target.write_bytes(onnx.ModelProto(graph=graph, ir_version=10).SerializeToString())
    return sum(len(tensor.raw_data) for tensor in kept)
