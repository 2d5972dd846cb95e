"""Activations that are in memory at once."""

import torch
from torch import Tensor, nn

import netsuke
from netsuke.core.roofline import activation_peak
from netsuke.flow import inspect


class Residual(nn.Module):
    """8 channels of 8×8 (512 elements), a shortcut that waits for two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 8, 3, padding=1)
        self.c = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.out = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.a(x)))
        y = self.c(torch.relu(self.b(x)))
        return self.out(torch.relu(x + y).mean((2, 3)))


def alive(net: nn.Module) -> dict[str, int]:
    images = torch.randn(8, 3, 8, 8)
    task = netsuke.Task(calibrate=images, validate=(images, torch.zeros(8, dtype=torch.long)))
    return {layer.name: layer.alive for layer in inspect(net, task)}


def test_what_waits_for_a_later_operation_counts() -> None:
    found = alive(Residual())
    assert found["a"] == 3 * 64 + 512
    assert found["norm"] == 512  # computed within the convolution
    assert found["b"] == 2 * 512
    assert found["c"] == 3 * 512  # the shortcut still waits
    assert found["out"] == 8 + 2


def test_the_peak_is_of_all_that_waits() -> None:
    images = torch.randn(8, 3, 8, 8)
    task = netsuke.Task(calibrate=images, validate=(images, torch.zeros(8, dtype=torch.long)))
    assert activation_peak(inspect(Residual(), task)) == 4 * 3 * 512


class Views(nn.Module):
    """A view holds no memory of its own, and keeps what it looks at."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(12, 12), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        first, second = x.chunk(2, 1)
        return self.b(first) + self.b(second)


def test_a_view_is_what_it_looks_at() -> None:
    images = torch.randn(8, 12)
    task = netsuke.Task(calibrate=images, validate=(images, torch.zeros(8, dtype=torch.long)))
    found = [layer.alive for layer in inspect(Views(), task)]
    assert found[:3] == [24, 12 + 3, 12 + 3 + 3]
