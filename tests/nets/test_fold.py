import pytest
import torch
from torch import Tensor, nn

from models import NAMES, captured, example, lively
from netsuke.nets.capture import capture
from netsuke.nets.fold import fold_batchnorm
from netsuke.nets.graph import op


def norms(network) -> int:
    return sum(op(n) == "batch_norm" for n in network.graph.nodes)


def relative(given: Tensor, wanted: Tensor) -> float:
    return ((given - wanted).abs().max() / wanted.abs().max()).item()


@pytest.mark.parametrize("name", NAMES)
def test_computes_the_same_in_eval(name: str) -> None:
    module, inputs = example(name)
    model = captured(name)
    folded = fold_batchnorm(model.network)
    assert relative(folded(*inputs), module(*inputs)) <= 1e-5
    assert norms(folded) == {"densenet": 3}.get(name, 0)  # there it comes before the convolution
    assert norms(model.network) == {"densenet": 3}.get(name, norms(model.network))


def test_names_and_the_original_survive() -> None:
    module, inputs = example("resnet")
    network = captured("resnet").network
    folded = fold_batchnorm(network)
    assert "conv1.bias" in folded.state_dict()
    assert not any("bn" in key for key in folded.state_dict())
    assert isinstance(folded.get_parameter("layer1.0.conv1.weight"), nn.Parameter)
    assert network.state_dict().keys() == module.state_dict().keys()
    assert torch.equal(network(*inputs), module(*inputs))


class Odd(nn.Module):
    """A grouped transposed convolution, BatchNorm without weights, and a linear layer on 3-D data."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.bn1 = nn.ConvTranspose2d(6, 9, 3, groups=3), nn.BatchNorm2d(9)
        self.flat, self.bn2 = nn.Conv1d(9, 4, 1), nn.BatchNorm1d(4, affine=False)
        self.linear, self.bn3 = nn.Linear(4, 4), nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.flat(self.bn1(self.up(x)).flatten(2)))
        return self.bn3(self.linear(y[:, :, :4]))


def test_odd_shapes_fold_or_stay() -> None:
    torch.manual_seed(0)
    module, x = lively(Odd()), torch.randn(2, 6, 5, 5)
    folded = fold_batchnorm(capture(module, x).network)
    assert norms(folded) == 1  # after the linear layer, whose channels are not dimension 1
    assert relative(folded(x), module(x)) <= 1e-5


class Shared(nn.Module):
    """One convolution used twice, and one whose output is read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn1, self.bn2 = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv(x))
        z = self.conv(y)
        return self.bn2(z) + z


def test_what_is_shared_is_left_alone() -> None:
    module, x = lively(Shared()), torch.randn(2, 3, 4, 4)
    folded = fold_batchnorm(capture(module, x).network)
    assert norms(folded) == 2
    assert torch.equal(folded(x), module(x))
