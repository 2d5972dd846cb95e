"""Small networks, written by hand, shared by the tests of every part."""

import functools
import inspect
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netsuke.core.model import Model
from netsuke.nets.capture import capture


class Block(nn.Module):
    """Two 3×3 convolutions; the shortcut subsamples and pads with zeros, without weights."""

    def __init__(self, inside: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.stride, self.extra = stride, out - inside

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.stride != 1 or self.extra:
            half = self.extra // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, half))
        return F.relu(x + y)


class ResNet(nn.Module):
    """ResNet for CIFAR-10 (He et al., 2016): 3 stages; 3×32×32 in, 10 logits out."""

    def __init__(self, blocks: int = 3, width: int = 16, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = self._stage(width, width, blocks, 1)
        self.layer2 = self._stage(width, 2 * width, blocks, 2)
        self.layer3 = self._stage(2 * width, 4 * width, blocks, 2)
        self.linear = nn.Linear(4 * width, classes)

    @staticmethod
    def _stage(inside: int, out: int, blocks: int, stride: int) -> nn.Sequential:
        first = Block(inside, out, stride)
        return nn.Sequential(first, *(Block(out, out, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.layer3(self.layer2(self.layer1(y)))
        return self.linear(y.mean((2, 3)))


def resnet20() -> ResNet:
    """269,722 parameters; loads the shared checkpoints without ``module.``."""
    return ResNet()


class SqueezeExcite(nn.Module):
    """Scales channels by a gate computed from their means (Hu et al., 2018)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(width, inner, 1), nn.Conv2d(inner, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = F.relu(self.down(F.adaptive_avg_pool2d(x, 1)))
        return x * F.hardsigmoid(self.up(gate))


class Inverted(nn.Module):
    """Expand 1×1, depthwise 3×3, squeeze-excite, project 1×1 (MobileNetV3)."""

    def __init__(self, inside: int, out: int, stride: int) -> None:
        super().__init__()
        wide = 4 * inside
        self.expand = nn.Sequential(
            nn.Conv2d(inside, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.Hardswish()
        )
        self.depthwise = nn.Sequential(
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
        )
        self.squeeze = SqueezeExcite(wide, wide // 4)
        self.project = nn.Sequential(nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out))
        self.residual = stride == 1 and inside == out

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.squeeze(self.depthwise(self.expand(x))))
        return x + y if self.residual else y


class MobileNet(nn.Module):
    """3×32×32 in, 10 logits out."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish()
        )
        self.blocks = nn.Sequential(Inverted(8, 8, 1), Inverted(8, 16, 2), Inverted(16, 16, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(16, classes))

    def forward(self, x: Tensor) -> Tensor:
        y = F.adaptive_avg_pool2d(self.blocks(self.stem(x)), 1)
        return self.classifier(torch.flatten(y, 1))


class DenseNet(nn.Module):
    """Each layer sees all before it, concatenated; BatchNorm comes first. 3×16×16 in."""

    def __init__(self, growth: int = 8, layers: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        widths = [16 + growth * i for i in range(layers)]
        self.norms = nn.ModuleList(nn.BatchNorm2d(w) for w in widths)
        self.convs = nn.ModuleList(nn.Conv2d(w, growth, 3, 1, 1, bias=False) for w in widths)
        self.transition = nn.Conv2d(16 + growth * layers, 16, 1)
        self.linear = nn.Linear(16 * 4 * 4, classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            y = torch.cat([y, conv(F.relu(norm(y)))], 1)
        y = F.max_pool2d(F.relu(self.transition(F.avg_pool2d(y, 2))), 2)
        return self.linear(y.flatten(1))


class ShuffleNet(nn.Module):
    """Grouped convolutions with a channel shuffle between (Zhang et al., 2018). 3×16×16 in."""

    def __init__(self, width: int = 24, groups: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.groups = groups
        self.stem = nn.Conv2d(3, width, 3, 2, 1)
        self.first = nn.Conv2d(width, width, 1, groups=groups, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.depthwise = nn.Conv2d(width, width, 3, 1, 1, groups=width, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 1, groups=groups)
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        y = F.relu(self.bn1(self.first(x)))
        b, c, h, w = y.shape
        y = y.view(b, self.groups, c // self.groups, h, w).transpose(1, 2).reshape(b, c, h, w)
        y = self.second(self.bn2(self.depthwise(y)))
        return self.linear(F.relu(x + y).mean((2, 3)))


class MLP(nn.Module):
    """16 features in, 4 logits out."""

    def __init__(self, inside: int = 16, hidden: int = 32, classes: int = 4) -> None:
        super().__init__()
        first = (nn.Linear(inside, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.1))
        last = (nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, classes))
        self.layers = nn.Sequential(*first, *last)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class EncoderLayer(nn.Module):
    """Attention and a GELU network, each with LayerNorm before and a residual around."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        q, k, v = self._split(self.query(y)), self._split(self.key(y)), self._split(self.value(y))
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout * self.training)
        x = x + self.out(y.transpose(1, 2).reshape(x.shape))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Encoder(nn.Module):
    """Token ids (12 of 50) in, 3 logits out."""

    def __init__(
        self, words: int = 50, length: int = 12, width: int = 32, classes: int = 3
    ) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(length, width)
        self.register_buffer("positions", torch.arange(length), persistent=False)
        layers = (EncoderLayer(width, 4, 2 * width, 0.1) for _ in range(2))
        self.layers = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.layers(self.words(ids) + self.places(self.positions))
        return self.head(self.norm(x).mean(1))


def example(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network of that name with random weights (seed 0), and two samples of its input."""
    torch.manual_seed(0)
    kinds: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
        "resnet": (resnet20, torch.randn(2, 3, 32, 32)),
        "mobilenet": (MobileNet, torch.randn(2, 3, 32, 32)),
        "densenet": (DenseNet, torch.randn(2, 3, 16, 16)),
        "shuffle": (ShuffleNet, torch.randn(2, 3, 16, 16)),
        "mlp": (MLP, torch.randn(2, 16)),
        "encoder": (Encoder, torch.randint(0, 50, (2, 12))),
    }
    make, inputs = kinds[name]
    return lively(make()), (inputs,)


@functools.cache
def captured(name: str) -> Model:
    """The network of that name, captured once for all tests; who changes it clones it first."""
    return capture(*example(name), name)


NAMES = ("resnet", "mobilenet", "densenet", "shuffle", "mlp", "encoder")


def lively(module: nn.Module) -> nn.Module:
    """Give BatchNorm statistics and scales as after training, so that mistakes with them show."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.3, 0.3)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
            if part.affine:
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.uniform_(part.bias, -0.3, 0.3)
    return module.eval()


def line_of(code: str, kind: type[nn.Module]) -> int:
    """The line of this file where ``kind`` says ``code``, for tests of messages."""
    lines, first = inspect.getsourcelines(kind)
    return first + next(i for i, line in enumerate(lines) if code in line)
