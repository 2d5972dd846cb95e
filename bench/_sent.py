"""What figure 3 of `bench shard` sends in place of floats: a picture's bytes, raw or as a JPEG, to the whole network."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netsuke.runtimes.onnxruntime import OnnxRuntime

if TYPE_CHECKING:
    from bench._harness import Bench
    from netsuke.core.artifact import Artifact
    from netsuke.core.data import Array

QUALITY, DECODINGS = 90, 9


@dataclass(frozen=True)
class Sent:
    """data: the bytes, a batch of one. artifact: the network for who sends them. decoding: seconds that it takes to make
    the picture of them, to be added: the network computes with the picture it holds."""

    data: Array
    artifact: Artifact
    decoding: float


def sent(bench: Bench, artifact: Artifact, sample: Array, picture: Array) -> Mapping[str, Sent]:
    """By what is sent. sample: the network's input. picture: the same in 8 bits a value."""
    from PIL import Image

    coded = io.BytesIO()
    Image.fromarray(picture).save(coded, "JPEG", quality=QUALITY)
    taken = []
    for _ in range(DECODINGS):
        start = time.perf_counter()
        with Image.open(coded) as photo:
            np.asarray(photo)
        taken.append(time.perf_counter() - start)
    found = {
        "raw": (picture.tobytes(), 0.0),
        "JPEG": (coded.getvalue(), float(np.median(taken))),
    }
    folder = Path(tempfile.mkdtemp(dir=bench.folder("runs")))
    return {
        name: Sent(
            np.frombuffer(data, np.uint8)[None].copy(),
            _taking(artifact, sample, len(data), folder / f"{name}.onnx"),
            seconds,
        )
        for name, (data, seconds) in found.items()
    }


def _taking(artifact: Artifact, sample: Array, size: int, path: Path) -> Artifact:
    """The network for so many bytes: it reads them all, adds nothing of them to the sample it holds, and computes."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(artifact.path)
    graph = model.graph
    held = {w.name for w in graph.initializer}
    (given,) = (i for i in graph.input if i.name not in held)
    constants = {"sent_sample": sample, "sent_nothing": np.array(0, np.float32)}
    nodes: list[Any] = [
        helper.make_node("Cast", ["sent"], ["sent_floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["sent_floats"], ["sent_sum"], keepdims=0),
        helper.make_node("Mul", ["sent_sum", "sent_nothing"], ["sent_zero"]),
        helper.make_node("Add", ["sent_sample", "sent_zero"], [given.name]),
    ]
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())
    others = [i for i in graph.input if i.name != given.name]
    del graph.input[:]
    graph.input.extend(
        [helper.make_tensor_value_info("sent", TensorProto.UINT8, [1, size]), *others]
    )
    onnx.save(model, path)
    return OnnxRuntime().adopt(path)
