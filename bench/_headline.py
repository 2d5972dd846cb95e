"""Figure 9: the shapes everybody quotes, at 224×224."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench._apply import STATIC, Applied, apply
from bench._export import torch_onnx
from bench._harness import Bench, Claim, Figure
from bench._setup import fastest_of
from bench._shapes import mobilenet_v2, pictures, resnet18
from bench._timing import Timing, compare

if TYPE_CHECKING:
    from torch import nn

SAMPLES = 32


def headline(bench: Bench) -> Figure:
    """The figure."""
    found = {
        name: _measured(bench, net, name)
        for name, net in (("resnet18", resnet18()), ("mobilenet_v2", mobilenet_v2()))
    }
    (big, smaller), (mobile, _) = found["resnet18"], found["mobilenet_v2"]
    claims = (
        Claim("ResNet-18 faster than FP32", big.ratio, "x", "≥", 3.25),
        Claim("ResNet-18 smaller than FP32", smaller, "x", "≥", 3.9),
        Claim("MobileNetV2 faster than FP32", mobile.ratio, "x", "≥", 2.0),
    )
    details: dict[str, Any] = {
        name: {"timing": timing.to_dict(), "smaller": ratio}
        for name, (timing, ratio) in found.items()
    }
    return Figure("224×224", claims, big.rounds, details, ("random weights: time and bytes alone",))


def _measured(bench: Bench, net: "nn.Module", name: str) -> tuple[Timing, float]:
    """INT8's time against the faster FP32 export, and how much smaller it is than the smaller one."""
    from netsuke import Task

    x = pictures(bench.count(SAMPLES, 4))
    y = np.zeros(len(x), np.int64)
    task = Task(calibrate=x, validate=(x, y), test=(x, y))
    made: Applied = apply(bench, net, (STATIC, task), name)
    theirs = torch_onnx(net, bench.folder("onnx"), (torch.zeros(2, *x.shape[1:]),))
    reference, floats = fastest_of(bench, made.fp32, theirs, x[:1])
    times = compare({**floats, "INT8": made.path}, reference, x[:1], bench.count(10, 1))
    size = min(path.stat().st_size for path in floats.values())
    return times["INT8"], size / made.path.stat().st_size
