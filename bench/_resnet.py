"""The CIFAR ResNets of the shared data (He et al., 2016), any widths. Needs torch alone, so that a
rival's own environment can import it too."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

STAGES = (16, 32, 64)


class SliceAndPad(nn.Module):
    """The shortcut without weights: every second pixel, zero channels before and after."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.out, self.pad = out, out // 4

    def forward(self, x: Tensor) -> Tensor:
        after = self.out - self.pad - x.shape[1]
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, after))


class Select(nn.Module):
    """The same shortcut with its wiring written out, which still makes sense once channels on either
    side are gone: output channel o carries input channel i where ``weight[o, i]`` is 1, else zero.
    Run as a 1×1 convolution of stride 2."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight, stride=2)


class Block(nn.Module):
    """Two 3×3 convolutions around a shortcut."""

    def __init__(self, channels: tuple[int, int, int], stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        before, inner, after = channels
        self.conv1 = nn.Conv2d(before, inner, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ResNet(nn.Module):
    """Input (N, 3, 32, 32), output (N, classes). Parameter names are those of the shared files."""

    def __init__(self, first: int, stages: list[list[Block]], classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, first, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.layer1, self.layer2, self.layer3 = (nn.Sequential(*blocks) for blocks in stages)
        self.linear = nn.Linear(stages[-1][-1].conv2.out_channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return cast(Tensor, self.linear(x.mean((2, 3))))

    def blocks(self) -> list[Block]:
        return [module for module in self.modules() if isinstance(module, Block)]


def resnet(depth: int = 20, widths: tuple[int, ...] = STAGES) -> ResNet:
    """ResNet-20, -56, ... with random weights and slice-and-pad shortcuts. widths: of its stages, each twice the one before."""
    count = (depth - 2) // 6
    stages = []
    for index, width in enumerate(widths):
        before = widths[max(0, index - 1)]
        first = (
            Block((before, width, width), 2, SliceAndPad(width))
            if index
            else Block((width, width, width), 1, nn.Identity())
        )
        stages.append(
            [first, *(Block((width, width, width), 1, nn.Identity()) for _ in range(count - 1))]
        )
    return ResNet(widths[0], stages)


def with_selects(net: ResNet) -> ResNet:
    """Replace each slice-and-pad by the equal Select, in place."""
    for block in net.blocks():
        if isinstance(block.shortcut, SliceAndPad):
            out, into = block.conv2.out_channels, block.conv1.in_channels
            weight = torch.zeros(out, into, 1, 1)
            weight[range(block.shortcut.pad, block.shortcut.pad + into), range(into)] = 1
            block.shortcut = Select(weight)
    return net


def from_state(state: Mapping[str, Tensor]) -> ResNet:
    """The network a state belongs to, its widths read from the shapes: a state of the shared files,
    or one of a pruned network whose shortcuts are Selects."""
    stages = [
        [_block(state, stage, i) for i in range(_blocks(state, stage))] for stage in (1, 2, 3)
    ]
    net = ResNet(len(state["conv1.weight"]), stages, len(state["linear.weight"]))
    net.load_state_dict(state)
    return net.eval()


def _blocks(state: Mapping[str, Tensor], stage: int) -> int:
    return sum(
        name.startswith(f"layer{stage}.") and name.endswith(".conv1.weight") for name in state
    )


def _block(state: Mapping[str, Tensor], stage: int, index: int) -> Block:
    prefix = f"layer{stage}.{index}."
    inner, before = state[f"{prefix}conv1.weight"].shape[:2]
    after = len(state[f"{prefix}conv2.weight"])
    select = state.get(f"{prefix}shortcut.weight")
    stride = 2 if stage > 1 and index == 0 else 1
    if select is not None:
        shortcut: nn.Module = Select(select)
    else:
        shortcut = SliceAndPad(after) if stride == 2 else nn.Identity()
    return Block((before, inner, after), stride, shortcut)
