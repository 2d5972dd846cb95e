"""Networks that give pictures, boxes or several things: U-Net, detectors, super-resolution, generators."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.zoo._parts import CLASSES, Entry, active, conv, pictures


class UNet(nn.Module):
    """Down twice, up twice, joined with what was there on the way down (Ronneberger et al., 2015)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.down1 = nn.Sequential(active(3, width), active(width, width))
        self.down2 = nn.Sequential(active(width, 2 * width), active(2 * width, 2 * width))
        self.deep = nn.Sequential(active(2 * width, 4 * width), active(4 * width, 4 * width))
        self.up2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, 2)
        self.join2 = active(4 * width, 2 * width)
        self.up1 = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.join1 = active(2 * width, width)
        self.head = nn.Conv2d(width, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.down1(x)
        second = self.down2(F.max_pool2d(first, 2))
        y = self.up2(self.deep(F.max_pool2d(second, 2)))
        y = self.up1(self.join2(torch.cat([second, y], 1)))
        return self.head(self.join1(torch.cat([first, y], 1)))


class Pyramid(nn.Module):
    """Three sizes of features from the top down, one head for all (Lin et al., 2017; Liu et al., 2016)."""

    def __init__(self, width: int = 24, boxes: int = 3) -> None:
        super().__init__()
        self.stages = nn.ModuleList(active(a, b, 3, 2) for a, b in ((3, 16), (16, 32), (32, 64)))
        self.sides = nn.ModuleList(nn.Conv2d(n, width, 1) for n in (16, 32, 64))
        self.tower = active(width, width)
        self.classes = nn.Conv2d(width, boxes * CLASSES, 3, 1, 1)
        self.places = nn.Conv2d(width, boxes * 4, 3, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = []
        for stage, side in zip(self.stages, self.sides, strict=True):
            x = stage(x)
            found.append(side(x))
        for i in (1, 0):
            found[i] = found[i] + F.interpolate(found[i + 1], scale_factor=2, mode="nearest")
        towers = [self.tower(f) for f in found]
        return self._rows(self.classes, towers, CLASSES), self._rows(self.places, towers, 4)

    @staticmethod
    def _rows(head: nn.Module, towers: list[Tensor], size: int) -> Tensor:
        """(batch, boxes of all sizes, numbers of a box)."""
        parts = [head(t).permute(0, 2, 3, 1).reshape(t.shape[0], -1, size) for t in towers]
        return torch.cat(parts, 1)


class CrossStage(nn.Module):
    """Split, some blocks on one half, all of it joined (C2f of YOLOv8)."""

    def __init__(self, before: int, after: int, blocks: int = 2) -> None:
        super().__init__()
        self.enter = self._layer(before, after, 1)
        self.blocks = nn.ModuleList(self._layer(after // 2, after // 2, 3) for _ in range(blocks))
        self.leave = self._layer(after // 2 * (2 + blocks), after, 1)

    @staticmethod
    def _layer(before: int, after: int, kernel: int) -> nn.Sequential:
        return nn.Sequential(*conv(before, after, kernel), nn.SiLU())

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.enter(x).chunk(2, 1))
        for block in self.blocks:
            parts.append(parts[-1] + block(parts[-1]))
        return self.leave(torch.cat(parts, 1))


class Yolo(nn.Module):
    """A backbone with pools in a row, two sizes joined, boxes decoded by a softmax over bins."""

    def __init__(self, bins: int = 8) -> None:
        super().__init__()
        self.stem = active(3, 16, 3, 2)
        self.near = nn.Sequential(active(16, 32, 3, 2), CrossStage(32, 32))
        self.far = nn.Sequential(active(32, 48, 3, 2), CrossStage(48, 48))
        self.squeeze, self.spread = active(48, 24, 1), active(96, 48, 1)
        self.joined = CrossStage(80, 32)
        self.boxes, self.classes = nn.Conv2d(32, 4 * bins, 1), nn.Conv2d(32, CLASSES, 1)
        self.register_buffer("bins", torch.arange(bins, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        near = self.near(self.stem(x))
        pools = [self.squeeze(self.far(near))]
        for _ in range(3):
            pools.append(F.max_pool2d(pools[-1], 5, 1, 2))
        far = F.interpolate(self.spread(torch.cat(pools, 1)), scale_factor=2, mode="nearest")
        y = self.joined(torch.cat([far, near], 1))
        edges = self.boxes(y).flatten(2).unflatten(1, (4, len(self.bins)))
        distances = (edges.softmax(2) * self.bins[:, None]).sum(2)
        return torch.cat([distances, self.classes(y).flatten(2).sigmoid()], 1)


class SuperResolution(nn.Module):
    """Residual blocks, then channels become pixels (Shi et al., 2016; Lim et al., 2017)."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.start = nn.Conv2d(3, width, 3, 1, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, 1, 1), nn.PReLU(width), nn.Conv2d(width, width, 3, 1, 1))
            for _ in range(2)
        )  # fmt: skip
        self.up = nn.Sequential(
            nn.Conv2d(width, 4 * width, 3, 1, 1), nn.PixelShuffle(2), nn.PReLU()
        )
        self.end = nn.Conv2d(width, 3, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = first = self.start(x)
        for block in self.blocks:
            y = y + 0.1 * block(y)
        return self.end(self.up(y + first))


class Generator(nn.Module):
    """Noise to a picture by transposed convolutions, one of them in groups (Radford et al., 2016)."""

    def __init__(self, noise: int = 32, width: int = 32) -> None:
        super().__init__()
        self.start, self.width = nn.Linear(noise, 2 * width * 16), width
        self.body = nn.Sequential(
            nn.BatchNorm2d(2 * width), nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.ConvTranspose2d(width, width, 4, 2, 1, groups=width), nn.ReLU(),
            nn.ConvTranspose2d(width, width, 3, 1, 1, groups=4), nn.ReLU(),
            nn.ConvTranspose2d(width, 3, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        return self.body(self.start(z).view(-1, 2 * self.width, 4, 4))


class Autoencoder(nn.Module):
    """GroupNorm and InstanceNorm on the way down and up."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1), nn.GroupNorm(4, width), nn.SiLU(),
            nn.Conv2d(width, 2 * width, 3, 2, 1), nn.InstanceNorm2d(2 * width, affine=True), nn.SiLU(),
            nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(2 * width, width, 3, 1, 1),
            nn.GroupNorm(1, width), nn.SiLU(), nn.ConvTranspose2d(width, 3, 2, 2),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


ENTRIES = (
    Entry("U-Net", lambda: (UNet(), (pictures(),))),
    Entry("Feature pyramid, SSD head", lambda: (Pyramid(), (pictures(),))),
    Entry("YOLO style", lambda: (Yolo(), (pictures(),))),
    Entry("Super-resolution, pixel shuffle", lambda: (SuperResolution(), (pictures(side=16),))),
    Entry("Generator, transposed convolutions", lambda: (Generator(), (torch.randn(2, 32),))),
    Entry("Autoencoder, group and instance norm", lambda: (Autoencoder(), (pictures(),))),
)
