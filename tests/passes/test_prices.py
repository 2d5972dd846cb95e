"""What a state of a network is expected to take, without cutting it."""

import onnx
import torch
from torch import Tensor, nn

from netsuke.devices import device
from netsuke.nets.capture import capture
from netsuke.nets.channels.rehearsal import parts
from netsuke.passes.prune.prices import Prices
from netsuke.runtimes.onnxruntime import OnnxRuntime


class Shortcut(nn.Module):
    """Every second place of both dimensions, as in ResNets on small images."""

    def __init__(self, sliced: bool) -> None:
        super().__init__()
        self.conv, self.sliced = nn.Conv2d(3, 16, 3, padding=1), sliced

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return (x[:, :, ::2, ::2] if self.sliced else x).mean((2, 3))


def test_slices_that_the_exported_file_joins_are_priced_once(tmp_path) -> None:
    pi4, example = device("pi4"), torch.zeros(2, 3, 64, 64)
    models = [capture(Shortcut(sliced), example, "shortcut") for sliced in (True, False)]
    file = OnnxRuntime().export(models[0], pi4, tmp_path / "a.onnx").path
    slices = [n for n in onnx.load(file).graph.node if n.op_type == "Slice"]
    assert len(slices) == 1
    nodes = [n for n in models[0].network.graph.nodes if "slice" in str(n.target)]
    assert len(nodes) > 1
    found = [parts(model) for model in models]
    costs = [
        Prices(model, part.groups, pi4, "seconds")({}, ())
        for model, part in zip(models, found, strict=True)
    ]
    # One operation writes a quarter, and the mean then reads three quarters less.
    quarter = 4 * 16 * 64 * 64 / 4 / pi4.bandwidth
    sliced = costs[0] - costs[1] + 3 * quarter
    assert quarter < sliced < 4 * quarter + 2 * pi4.overhead
