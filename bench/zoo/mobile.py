"""MobileNet V1 to V3 and EfficientNet: depthwise convolutions, squeeze and excite."""

from torch import Tensor, nn
from torch.nn import functional as F

from bench.zoo._parts import CLASSES, SIDE, Classifier, Entry, Made, conv, pictures
from bench.zoo.residual import Logits


class SqueezeExcite(nn.Module):
    """Scales channels by a gate computed from their means (Hu et al., 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(width, width // 4, 1), nn.Conv2d(width // 4, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = F.relu(self.down(F.adaptive_avg_pool2d(x, 1)))
        return x * F.hardsigmoid(self.up(gate))


class Inverted(nn.Module):
    """Expand, depthwise, squeeze and excite, project (Howard et al., 2019)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        wide = 4 * before
        self.body = nn.Sequential(
            conv(before, wide, 1), nn.Hardswish(), conv(wide, wide, 5, stride, wide),
            nn.Hardswish(), SqueezeExcite(wide), conv(wide, after, 1),
        )  # fmt: skip
        self.added = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return x + y if self.added else y


def _mobilenet_v1() -> Made:
    from transformers import MobileNetV1Config, MobileNetV1ForImageClassification

    config = MobileNetV1Config(
        depth_multiplier=0.25, image_size=64, num_labels=CLASSES, classifier_dropout_prob=0.1
    )
    return Logits(MobileNetV1ForImageClassification(config)), (pictures(side=64),)


def _mobilenet_v2() -> Made:
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    config = MobileNetV2Config(
        depth_multiplier=0.25, image_size=64, num_labels=CLASSES, classifier_dropout_prob=0.1
    )
    return Logits(MobileNetV2ForImageClassification(config)), (pictures(side=64),)


def _mobilenet_v3() -> Made:
    blocks = (Inverted(8, 8, 1), Inverted(8, 16, 2), Inverted(16, 16, 1))
    return Classifier(16, conv(3, 8, 3, 2), nn.Hardswish(), *blocks), (pictures(),)


def _efficientnet() -> Made:
    from transformers import EfficientNetConfig, EfficientNetForImageClassification

    config = EfficientNetConfig(
        width_coefficient=0.25, depth_coefficient=0.5, image_size=SIDE, hidden_dim=320,
        num_labels=CLASSES,
    )  # fmt: skip
    return Logits(EfficientNetForImageClassification(config)), (pictures(),)


ENTRIES = (
    Entry("MobileNet V1", _mobilenet_v1),
    Entry("MobileNet V2", _mobilenet_v2),
    Entry("MobileNet V3", _mobilenet_v3),
    Entry("EfficientNet", _efficientnet),
)
