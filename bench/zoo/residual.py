"""ResNets of three kinds, RegNet and ConvNeXt."""

from torch import Tensor, nn
from torch.nn import functional as F

from bench.zoo._parts import CLASSES, SIDE, Classifier, Entry, Made, active, conv, pictures


class Bottleneck(nn.Module):
    """1×1 down, 3×3, 1×1 up; the shortcut has a convolution where shapes change (He et al., 2016)."""

    def __init__(self, before: int, inner: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            active(before, inner, 1), active(inner, inner, 3, stride), conv(inner, after, 1)
        )
        same = before == after and stride == 1
        self.shortcut = nn.Identity() if same else conv(before, after, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class PreActivated(nn.Module):
    """BatchNorm and ReLU before each convolution; the stream itself is never normalized."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(before), nn.BatchNorm2d(after)
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        same = before == after and stride == 1
        self.shortcut = None if same else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(y)
        return shortcut + self.conv2(F.relu(self.norm2(self.conv1(y))))


class Padded(nn.Module):
    """The shortcut takes each second pixel and pads channels with zeros: no weights."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(active(before, after, 3, stride), conv(after, after))
        self.stride, self.extra = stride, after - before

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        if self.extra:
            half = self.extra // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, half))
        return F.relu(x + y)


def _resnet() -> Made:
    blocks = (Bottleneck(16, 8, 32, 1), Bottleneck(32, 8, 32, 1), Bottleneck(32, 16, 64, 2))
    return Classifier(64, active(3, 16), nn.MaxPool2d(3, 2, 1), *blocks), (pictures(),)


def _pre_activated() -> Made:
    blocks = (PreActivated(16, 16, 1), PreActivated(16, 32, 2), PreActivated(32, 32, 1))
    return Classifier(32, nn.Conv2d(3, 16, 3, 1, 1), *blocks, nn.BatchNorm2d(32), nn.ReLU()), (
        pictures(),
    )


def _padded() -> Made:
    blocks = (Padded(16, 16, 1), Padded(16, 32, 2), Padded(32, 32, 1), Padded(32, 64, 2))
    return Classifier(64, active(3, 16), *blocks), (pictures(),)


class Logits(nn.Module):
    """A network of ``transformers`` that gives its logits alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x).logits


def _regnet() -> Made:
    from transformers import RegNetConfig, RegNetForImageClassification

    config = RegNetConfig(
        embedding_size=16, hidden_sizes=[16, 32], depths=[1, 2], groups_width=8, layer_type="y",
        num_labels=CLASSES,
    )  # fmt: skip
    return Logits(RegNetForImageClassification(config)), (pictures(),)


def _convnext() -> Made:
    from transformers import ConvNextConfig, ConvNextForImageClassification

    config = ConvNextConfig(
        hidden_sizes=[16, 32], depths=[1, 2], num_stages=2, image_size=SIDE, num_labels=CLASSES,
        layer_scale_init_value=0.5,
    )  # fmt: skip
    return Logits(ConvNextForImageClassification(config)), (pictures(),)


ENTRIES = (
    Entry("ResNet (bottlenecks)", _resnet),
    Entry("ResNet, pre-activation", _pre_activated),
    Entry("ResNet, slice-and-pad shortcuts", _padded),
    Entry("RegNet-Y", _regnet),
    Entry("ConvNeXt", _convnext),
)
