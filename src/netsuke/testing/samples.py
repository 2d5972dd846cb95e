"""Small real things to test plugins with: data, a trained-looking model, an artifact that runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsuke.core.artifact import Artifact, sha256
from netsuke.core.budget import Budget
from netsuke.core.device import Device
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.probe import Subject
from netsuke.core.task import Task, ready
from netsuke.devices import device as find_device

CLASSES, SIDE = 4, 8


def images(count: int = 256, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(count, 1, 8, 8) images of four classes, noise around one pattern each, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=count)
    noise = rng.standard_normal((count, 1, SIDE, SIDE))
    return (patterns()[labels] + 1.5 * noise).astype(np.float32), labels


def patterns() -> NDArray[np.float32]:
    """What the images of each class have in common."""
    made = np.random.default_rng(1).standard_normal((CLASSES, 1, SIDE, SIDE))
    return made.astype(np.float32)


def task(count: int = 256) -> Task:
    """The images with a training, a validation and a test part."""
    return Task(train=images(count), validate=images(count, 1), test=images(count, 2))


def goal(device: str | Device = "local", budget: Budget | None = None) -> Goal:
    """A goal on the images; the device by name."""
    where = find_device(device) if isinstance(device, str) else device
    return Goal(data=ready(task()), device=where, budget=budget or Budget())


def classifier(path: Path, width: int = 4, wrong: float = 0.0) -> Artifact:
    """Write an ONNX file that tells the images apart, and describe it.

    width: channels of its convolution, which set its size and time. wrong: how far its weights are
    from the best ones; at 1 it errs more often.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(2)
    kernel = 0.1 * rng.standard_normal((width, 1, 3, 3))
    kernel[0], kernel[1] = 0, 0
    kernel[0, 0, 1, 1], kernel[1, 0, 1, 1] = 1, -1
    # Behind the rectifier, the first channel less the second is the image again.
    best = np.zeros((CLASSES, width, SIDE, SIDE))
    best[:, 0], best[:, 1] = patterns()[:, 0], -patterns()[:, 0]
    weights = (best + wrong * rng.standard_normal(best.shape)).reshape(CLASSES, -1)
    bias = -0.5 * np.square(patterns()).sum((1, 2, 3))
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "kernel"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("Flatten", ["r"], ["f"]),
            helper.make_node("Gemm", ["f", "weights", "bias"], ["y"], transB=1),
        ],
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", CLASSES])],
        [
            numpy_helper.from_array(array.astype(np.float32), name)
            for array, name in ((kernel, "kernel"), (weights, "weights"), (bias, "bias"))
        ],
    )
    opset = [helper.make_opsetid("", 21)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return described(path)


def described(path: Path) -> Artifact:
    """An Artifact of an ONNX file with the images' input."""
    inputs = (("x", "float32", (1, SIDE, SIDE)),)
    return Artifact(path=path, runtime="onnxruntime", sha256=sha256(path), inputs=inputs)


class OnnxSession:
    """An ONNX file opened in onnxruntime, without a Runtime around it."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        self._names = [i.name for i in self._session.get_inputs()]

    def run(self, inputs: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """One call: arrays in the file's order, samples first."""
        return tuple(self._session.run(None, dict(zip(self._names, inputs, strict=True))))


def subject(artifact: Artifact, simulate: Any = None) -> Subject:
    """What a probe is handed, opened in onnxruntime."""
    return Subject(
        artifact=artifact,
        open=lambda threads: OnnxSession(artifact.path, threads),
        simulate=simulate,
    )


def network(width: int = 16, steps: int = 60) -> Model:
    """A small convolutional network with a residual add and BatchNorm, trained on the images."""
    from netsuke.testing.networks import Residual

    return _trained(Residual, width, steps)


def pooled_network(width: int = 8, steps: int = 60) -> Model:
    """A small convolutional network that ends in one mean of each channel, trained on the images."""
    from netsuke.testing.networks import Pooled

    return _trained(Pooled, width, steps)


def linear_network(width: int = 32, steps: int = 60) -> Model:
    """A small network of LayerNorm and linear layers with a residual add, trained on the images."""
    from netsuke.testing.networks import Rows

    return _trained(Rows, width, steps)


def _trained(kind: Any, width: int, steps: int) -> Model:
    import torch

    from netsuke.nets.capture import capture

    torch.manual_seed(0)
    net = kind(width, CLASSES)
    x, y = (torch.from_numpy(a) for a in images(512))
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for step in range(steps):
        rows = torch.arange(64) + step % 8 * 64
        loss = torch.nn.functional.cross_entropy(net(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return capture(net.eval(), (x[:2],), kind.__name__.lower())
