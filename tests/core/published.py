"""Layer lists of networks whose times on a Raspberry Pi 4 are published."""

from dataclasses import dataclass, field

from netsuke.core.layer import Layer


@dataclass
class Net:
    """Builds a list of layers; ``side`` and ``width`` follow the tensor that is passed on."""

    bits: int
    side: int = 224
    width: int = 3
    layers: list[Layer] = field(default_factory=list)

    def conv(self, out: int, kernel: int, stride: int = 1, depthwise: bool = False) -> "Net":
        side, groups = self.side // stride, self.width if depthwise else 1
        self._add(
            "conv2d", out, side, groups=groups, channels=(self.width, out),
            weights=self.width // groups * out * kernel**2,
            macs=self.width // groups * out * kernel**2 * side**2,
        )  # fmt: skip
        return self

    def plain(self, op: str, stride: int = 1, inputs: int = 1) -> "Net":
        """An operation without weights on ``inputs`` tensors of the same shape."""
        self._add(op, self.width, self.side // stride, inputs=inputs * self.width * self.side**2)
        return self

    def linear(self, out: int) -> "Net":
        self._add(
            "linear", out, 1, inputs=self.width, channels=(self.width, out),
            weights=self.width * out, macs=self.width * out,
        )  # fmt: skip
        return self

    def _add(self, op: str, out: int, side: int, **costs: object) -> None:
        given = {"inputs": self.width * self.side**2, "outputs": out * side**2, **costs}
        bits = {"weight_bits": self.bits, "activation_bits": self.bits}
        self.layers.append(Layer(name=str(len(self.layers)), op=op, **given, **bits))
        self.width, self.side = out, side


def mobilenet_v1(bits: int) -> tuple[Layer, ...]:
    net = Net(bits).conv(32, 3, 2)
    for out, stride in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)] + 5 * [(512, 1)] + [(1024, 2), (1024, 1)]:  # fmt: skip
        net.conv(net.width, 3, stride, depthwise=True).conv(out, 1)
    return tuple(net.plain("mean", net.side).linear(1000).layers)


def mobilenet_v2(bits: int) -> tuple[Layer, ...]:
    net = Net(bits).conv(32, 3, 2)
    for wide, out, repeats, first in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:  # fmt: skip
        for repeat in range(repeats):
            if wide > 1:
                net.conv(net.width * wide, 1)
            net.conv(net.width, 3, 1 if repeat else first, depthwise=True).conv(out, 1)
            if repeat:
                net.plain("add", inputs=2)
    net.conv(1280, 1)
    return tuple(net.plain("mean", net.side).linear(1000).layers)


def resnet50(bits: int) -> tuple[Layer, ...]:
    net = Net(bits).conv(64, 7, 2).plain("max_pool2d", 2)
    for inner, first, repeats in [(64, 1, 3), (128, 2, 4), (256, 2, 6), (512, 2, 3)]:
        for repeat in range(repeats):
            side, width, stride = net.side, net.width, 1 if repeat else first
            net.conv(inner, 1).conv(inner, 3, stride).conv(4 * inner, 1)
            if not repeat:
                after = net.side, net.width
                net.side, net.width = side, width
                net.conv(4 * inner, 1, stride)
                assert (net.side, net.width) == after
            net.plain("add", inputs=2)
    return tuple(net.plain("mean", net.side).linear(1000).layers)


def squeezenet(bits: int) -> tuple[Layer, ...]:
    net = Net(bits).conv(64, 3, 2).plain("max_pool2d", 2)
    for number, (narrow, wide) in enumerate([(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)]):  # fmt: skip
        if number in (2, 4):
            net.plain("max_pool2d", 2)
        net.conv(narrow, 1).conv(wide, 1)
        net.width = narrow
        net.conv(wide, 3)
        net.width = 2 * wide
        net.plain("cat")
    net.conv(1000, 1)
    return tuple(net.plain("mean", net.side).layers)
