"""Exported networks cut in parts: what runs apart gives what runs whole."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.models import ResNet
from torch import nn

from netsuke.core.artifact import Artifact
from netsuke.core.cut import Cut
from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.recipe import make_pass
from netsuke.core.task import Task, ready
from netsuke.devices import device
from netsuke.nets.capture import capture
from netsuke.runtimes.onnxruntime import OnnxRuntime

RUNTIME = OnnxRuntime()
X = np.random.default_rng(0).standard_normal((4, 3, 32, 32)).astype(np.float32)


class Masked(nn.Module):
    """Two layers of attention; the mask is needed in both."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(16, 2, 32, batch_first=True) for _ in range(2)
        )
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = x + layer(x) * mask[:, :, None]
        return self.head(x.mean(1))


def exported(model: Model, folder: Path) -> Artifact:
    return RUNTIME.export(model, device("pi4"), folder / "model.onnx")


def resnet() -> Model:
    torch.manual_seed(0)
    return capture(ResNet(2).eval(), (torch.from_numpy(X[:2]),), "resnet")


def quantized(model: Model) -> Model:
    data = ready(Task(calibrate=X, validate=(X, np.arange(4))))
    return make_pass("quantize.static", {}).apply(model, Goal(data=data, device=device("local")))


def chained(artifact: Artifact, cuts: list[Cut], folder: Path, *inputs: np.ndarray) -> np.ndarray:
    """What comes out of the last part, each fed what the ones before it gave."""
    held = {name: x for (name, _, _), x in zip(artifact.inputs, inputs, strict=True)}
    for part in RUNTIME.parts(artifact, cuts, folder):
        given = RUNTIME.open(part.artifact).run([held[name] for name, _, _ in part.artifact.inputs])
        kept = {name: held[name] for name in part.passes}
        held = kept | dict(zip(part.gives, given, strict=True))
    return next(iter(held.values()))


@pytest.mark.parametrize("integers", [False, True])
def test_every_cut_gives_what_the_whole_gives(tmp_path: Path, integers: bool) -> None:
    model = quantized(resnet()) if integers else resnet()
    artifact = exported(model, tmp_path)
    cuts = RUNTIME.cuts(artifact)
    assert len(cuts) >= 12
    whole = RUNTIME.open(artifact).run((X,))[0]
    for cut in cuts:
        apart = chained(artifact, [cut], tmp_path / "parts", X)
        if integers:
            assert np.array_equal(apart, whole), cut
        else:
            assert np.allclose(apart, whole, rtol=1e-5, atol=1e-5), cut


def test_many_cuts_at_once(tmp_path: Path) -> None:
    artifact = exported(resnet(), tmp_path)
    cuts = list(RUNTIME.cuts(artifact))
    apart = chained(artifact, cuts[::3], tmp_path / "parts", X)
    assert np.allclose(apart, RUNTIME.open(artifact).run((X,))[0], rtol=1e-5, atol=1e-5)


def test_integers_cross_as_integers_and_floats_as_floats(tmp_path: Path) -> None:
    floats = RUNTIME.cuts(exported(resnet(), tmp_path))
    integers = RUNTIME.cuts(exported(quantized(resnet()), tmp_path))
    assert {t.dtype for cut in floats for t in cut.tensors} == {"float32"}
    assert {t.dtype for cut in integers[:-1] for t in cut.tensors} <= {"uint8", "int8"}
    by_layer = {cut.layer: cut for cut in integers}
    same = [cut for cut in floats if cut.layer in by_layer and len(cut.tensors) == 1]
    assert same
    assert all(cut.size == 4 * by_layer[cut.layer].size for cut in same if by_layer[cut.layer].tensors[0].shape == cut.tensors[0].shape)  # fmt: skip


def test_cuts_have_the_names_of_the_users_layers(tmp_path: Path) -> None:
    artifact = exported(resnet(), tmp_path)
    names = [cut.layer for cut in RUNTIME.cuts(artifact)]
    layers = [layer.name for layer in artifact.layers if layer.macs]
    assert [name for name in names if name != "the input"] == [n for n in layers if n in names]
    assert "stages.0.0.conv1" in " ".join(names) or "conv1" in " ".join(names)


def test_what_every_part_needs_is_passed_on(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x, mask = torch.randn(2, 5, 16), torch.ones(2, 5)
    mask[:, 3:] = 0
    artifact = exported(capture(Masked().eval(), (x, mask), "masked"), tmp_path)
    whole = RUNTIME.open(artifact).run((x.numpy(), mask.numpy()))[0]
    cuts = [cut for cut in RUNTIME.cuts(artifact) if "mask" in " ".join(cut.names)]
    assert cuts
    parts = RUNTIME.parts(artifact, [cuts[0]], tmp_path / "parts")
    assert parts[0].passes or "mask" in " ".join(parts[0].gives)
    for cut in cuts:
        apart = chained(artifact, [cut], tmp_path / "parts", x.numpy(), mask.numpy())
        assert np.allclose(apart, whole, rtol=1e-5, atol=1e-5)


def test_two_cuts_at_one_place_are_refused(tmp_path: Path) -> None:
    artifact = exported(resnet(), tmp_path)
    cut = RUNTIME.cuts(artifact)[3]
    with pytest.raises(NetsukeError, match="nothing lies between"):
        RUNTIME.parts(artifact, [cut, cut], tmp_path)


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"\x00\x01")
    with pytest.raises(NetsukeError, match=r"broken\.onnx: cannot be cut"):
        RUNTIME.cuts(Artifact(path=path, runtime="onnxruntime", sha256="", inputs=()))
