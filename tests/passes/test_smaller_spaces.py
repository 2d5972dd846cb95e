"""Smaller pictures, smaller kernels, an earlier end."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.families.text import Transformer
from netsuke.families.vision import MobileNet
from netsuke.nets.capture import capture
from netsuke.nets.costs import layers, totals
from netsuke.nets.crop import crops
from netsuke.nets.cuts import cuts
from netsuke.nets.onnx_in import from_onnx
from netsuke.nets.onnx_out import export_onnx
from netsuke.passes.prune.kernels import Kernels
from netsuke.passes.quantize.static import Static
from netsuke.passes.search.exit import Exit
from netsuke.passes.search.resolution import Resolution
from netsuke.testing import samples


@pytest.fixture(scope="module")
def model() -> Model:
    return samples.pooled_network()


@pytest.fixture(scope="module")
def goal() -> Goal:
    return samples.goal("pi4")


@pytest.fixture(scope="module")
def mobile() -> Model:
    torch.manual_seed(0)
    stages = ((8, 2, 2), (16, 2, 2))
    return capture(MobileNet(4, 1, (8, 1), stages, kernel=5).eval(), torch.randn(2, 1, 16, 16))


def right(model: Model) -> float:
    x, y = samples.images(1024, 9)
    with torch.no_grad():
        return float((model.network.eval()(torch.from_numpy(x)).argmax(1).numpy() == y).mean())


def macs(model: Model) -> int:
    return totals(layers(model)).macs


def ran(model: Model, x: Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(export_onnx(model).content)
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


class Sized(nn.Module):
    """Wants its pictures in one size, and tells each of their places something."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.places = nn.Parameter(torch.randn(1, 4, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        return (self.conv(x) + self.places).mean((2, 3))


class Painter(nn.Module):
    """A picture in, a picture out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x))


def test_smaller_pictures_cost_the_square_and_come_in_as_large(model: Model, goal: Goal):
    made = Resolution(multiplier=0.5, epochs=0).apply(model, goal)
    assert made.example[0].shape == model.example[0].shape
    assert macs(made) / macs(model) == pytest.approx(0.25, abs=0.01)
    assert made.lineage[-1].summary == "pictures of 4 × 4 instead of 8 × 8, −75 % of the macs"


def test_smaller_pictures_run_the_same_in_the_runtime(mobile: Model, goal: Goal):
    lowered = Resolution(multiplier=0.7, epochs=0).apply(mobile, _squares(goal))
    x = torch.randn(3, 1, 16, 16)
    with torch.no_grad():
        assert np.allclose(ran(lowered, x), lowered.network.eval()(x).numpy(), atol=1e-5)
    integers = Static().apply(lowered, _squares(goal))
    with torch.no_grad():
        assert np.allclose(ran(integers, x), integers.network.eval()(x).numpy(), atol=0.02)


def test_a_file_with_smaller_pictures_is_read_again(mobile: Model, goal: Goal, tmp_path):
    lowered = Resolution(multiplier=0.7, epochs=0).apply(mobile, _squares(goal))
    (tmp_path / "small.onnx").write_bytes(export_onnx(lowered).content)
    again, x = from_onnx(tmp_path / "small.onnx"), torch.randn(3, 1, 16, 16)
    with torch.no_grad():
        assert torch.allclose(again.network.eval()(x), lowered.network.eval()(x), atol=1e-5)


def test_retraining_learns_to_see_smaller_pictures(model: Model, goal: Goal):
    blunt = Resolution(multiplier=0.75, epochs=0).apply(model, goal)
    taught = Resolution(multiplier=0.75, epochs=8, batch=32, lr=0.05).apply(model, goal)
    assert right(taught) > right(blunt) + 0.02


def test_what_smaller_pictures_cannot_help_is_named(goal: Goal):
    x = torch.randn(2, 1, 8, 8)
    half = Resolution(multiplier=0.5)
    assert "a.b" not in str(half.refuse(samples.network(), goal))
    assert str(half.refuse(samples.network(), goal)).startswith("last (networks.py:")
    assert "wants pictures of one size" in str(half.refuse(capture(Sized(), x), goal))
    assert "its outputs are as large as its pictures" in str(
        half.refuse(capture(Painter(), x), goal)
    )
    assert "no input is a picture" in str(
        half.refuse(capture(nn.Linear(4, 2), torch.randn(2, 4)), goal)
    )


def test_pictures_are_made_smaller_once(model: Model, goal: Goal):
    once = Resolution(multiplier=0.75, epochs=0).apply(model, goal)
    assert "smaller already" in str(Resolution(multiplier=0.75).refuse(once, goal))


def test_channels_leave_behind_smaller_pictures(model: Model, goal: Goal):
    from netsuke.passes.prune.channels import Channels

    lowered = Resolution(multiplier=0.75, epochs=0).apply(model, goal)
    made = Channels(ratio=0.3, cost="macs", epochs=0).apply(lowered, goal)
    assert macs(made) <= 0.7 * macs(lowered)


def test_kernels_are_fitted_to_what_the_whole_ones_gave(model: Model, goal: Goal):
    blunt = Kernels(epochs=0, reconstruct=False).apply(model, goal)
    fitted = Kernels(epochs=0).apply(model, goal)
    assert macs(fitted) == macs(blunt) < 0.8 * macs(model)
    assert right(fitted) > right(blunt) + 0.03
    assert "deep: kernel 5×5 → 3×3" in fitted.lineage[-1].notes


def test_smaller_kernels_leave_the_sizes(mobile: Model, goal: Goal):
    made = Kernels(epochs=0, reconstruct=False).apply(mobile, _squares(goal))
    x = torch.randn(3, 1, 16, 16)
    with torch.no_grad():
        wanted = made.network.eval()(x).numpy()
    assert np.allclose(ran(made, x), wanted, atol=1e-5)
    assert {c.left for c in crops(mobile, 3)} == {(3, 3)}


def test_a_whole_kernel_of_zeros_around_loses_nothing(goal: Goal):
    painter = Painter()
    with torch.no_grad():
        painter.conv.weight[:] = nn.functional.pad(torch.randn(1, 1, 3, 3), (2, 2, 2, 2))
        painter.conv.weight += 1e-6
    model = capture(painter, torch.randn(2, 1, 8, 8))
    made = Kernels(epochs=0, reconstruct=False).apply(model, goal)
    with torch.no_grad():
        x = torch.randn(4, 1, 8, 8)
        assert torch.allclose(made.network(x), model.network(x), atol=1e-3)


def test_kernels_that_stay_are_named(model: Model, goal: Goal):
    unpadded = capture(nn.Sequential(nn.Conv2d(1, 2, 5), nn.Flatten()), torch.randn(2, 1, 8, 8))
    assert "0 (it is not padded by as much as would leave)" in str(Kernels().refuse(unpadded, goal))
    assert "no convolution has a kernel larger than 5" in str(
        Kernels(largest=5).refuse(model, goal)
    )
    made = Kernels(epochs=0, protect=("deep",)).apply(model, goal)
    assert "stays as it is: deep (named in protect)" in made.lineage[-1].notes
    with pytest.raises(NetsukeError, match=r"prune\.kernels\.protect: no layer 'wide'"):
        Kernels(protect=("wide",)).apply(model, goal)


def test_even_kernels_stay_even(goal: Goal):
    even = capture(nn.Conv1d(1, 2, 4, padding=2), torch.randn(2, 1, 16))
    assert [c.left for c in crops(even, 3)] == [(2,)]


def test_an_exit_is_fitted_without_labels(model: Model, goal: Goal):
    made = Exit(epochs=0).apply(model, goal)
    assert made.lineage[-1].summary.startswith("ends behind bn: −59 % of the macs")
    assert right(made) > 0.5
    taught = Exit(epochs=8, batch=32, lr=0.05).apply(model, goal)
    assert right(taught) > right(made)


def test_an_exit_runs_the_same_in_the_runtime(mobile: Model, goal: Goal):
    made = Exit(epochs=0, at=0.7).apply(mobile, _squares(goal))
    x = torch.randn(3, 1, 16, 16)
    with torch.no_grad():
        assert np.allclose(ran(made, x), made.network.eval()(x).numpy(), atol=1e-5)
    left = {name.partition(".")[0] for name in made.network.state_dict()}
    assert left == {"features", "exit"}


def test_a_transformer_ends_behind_a_block():
    torch.manual_seed(0)
    made = capture(Transformer(100, 4).eval(), torch.randint(0, 100, (2, 64)))
    found = cuts(made)
    assert len(found) >= 4
    assert all(cut.channels == 2 for cut in found if len(cut.shape) == 3)


def test_nothing_else_crosses_a_cut(mobile: Model):
    """What is behind a cut can be computed from what crosses it, the sizes and the parameters."""
    for cut in cuts(mobile):
        before: set = set()
        for node in mobile.network.graph.nodes:
            before.add(node)
            if node.name == cut.node:
                break
        read = {
            n.name
            for node in mobile.network.graph.nodes
            if node not in before
            for n in node.all_input_nodes
            if n in before and n.op in ("placeholder", "call_function")
        }
        assert read - {n for n in read if n.startswith("sym_size")} == {cut.node}


def test_what_cannot_end_early_is_told(model: Model, goal: Goal):
    assert "the first place it can end is behind 20 % of the macs (first)" in str(
        Exit(at=0.1).refuse(model, goal)
    )
    painter = capture(Painter(), torch.randn(2, 1, 8, 8))
    assert "not one row of numbers" in str(Exit().refuse(painter, goal))


def _squares(goal: Goal) -> Goal:
    """The same with pictures of 16 × 16."""
    from netsuke.core.task import Task, ready

    def grown(seed: int) -> tuple[np.ndarray, np.ndarray]:
        x, y = samples.images(64, seed)
        return x.repeat(2, 2).repeat(2, 3), y

    return replace(goal, data=ready(Task(train=grown(0), validate=grown(1), test=grown(2))))
