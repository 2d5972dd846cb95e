"""What rivals' pruning leaves of ResNet-20, and the least of it that is as fast, or has as many MACs,
as wanted: what walk's figure 3 and prune's figure 3 compare with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench._export import torch_onnx
from bench._harness import say
from bench._resnet import ResNet, from_state
from bench._rivals import RivalFailedError, RivalMissingError, rival
from bench._timing import compare

RATIOS = [round(0.05 + 0.0125 * i, 4) for i in range(64)]
IMPORTANCES = {"magnitude": "group magnitude", "taylor": "group Taylor"}
WAYS: tuple[tuple[str, int | None, bool], ...] = (
    ("global", None, False),
    ("global", 8, True),
    ("global", 16, False),
    ("global", 16, True),
    ("uniform", 16, False),
    ("inner", 8, False),
    ("inner", 8, True),
    ("inner", 16, True),
)
"""(scope, rounding, in steps): its defaults first, then what was found to serve it best."""
ROUNDS = 8
FEWER = 0.99
"""A rival at equal MACs may have this part of them, no less."""


class Variant(Protocol):
    """One way a user would call a rival; its name in words."""

    @property
    def tool(self) -> str:
        """The rival, as ``bench.rivals`` names it."""

    @property
    def title(self) -> str:
        """What the best of its variants stands for."""

    def run(self, request: Mapping[str, Any], home: Path) -> dict[float, Path]:
        """States of what is left, by a ratio that rises."""


@dataclass(frozen=True)
class TorchPruning:
    """One way to call Torch-Pruning.

    scope: importances ranked over all layers ("global"), the same share of each ("uniform"), or
    global with the residual stream left alone ("inner"). iterative: in small steps, which keeps
    rounding from emptying (and so sparing) a layer.
    """

    importance: str
    scope: str
    round_to: int | None
    iterative: bool

    tool = "torch_pruning"

    @property
    def title(self) -> str:
        return IMPORTANCES[self.importance]

    def __str__(self) -> str:
        rounded = f"rounded to {self.round_to}" if self.round_to else "not rounded"
        return ", ".join(
            (self.importance, self.scope, rounded, "in steps" if self.iterative else "at once")
        )

    def run(self, request: Mapping[str, Any], home: Path) -> dict[float, Path]:
        asked = {**request, **asdict(self), "ratios": RATIOS, "folder": str(home)}
        files = rival(self.tool, asked, home)["files"]
        return {ratio: Path(name) for ratio, name in zip(RATIOS, files, strict=True)}


@dataclass(frozen=True)
class Cuts:
    """What one variant leaves: ratios that rise, and networks ever smaller."""

    variant: Variant
    ratios: list[float]
    states: list[Path]

    def pruned(self, index: int, found: float) -> "Pruned":
        return Pruned(self.variant, self.ratios[index], found, self.states[index])


@dataclass(frozen=True)
class Pruned:
    """The network taken. found: what it was taken for, measured (a speedup, or a number of MACs)."""

    variant: Variant
    ratio: float
    found: float
    state: Path

    def net(self) -> ResNet:
        return from_state(load_file(self.state))


def variants(quick: bool) -> list[Variant]:
    """Every variant of Torch-Pruning; one an importance in a rehearsal."""
    return [TorchPruning(i, *way) for i in IMPORTANCES for way in (WAYS[-2:-1] if quick else WAYS)]


def cuts(
    wanted: Sequence[Variant], request: Mapping[str, Any], folder: Path
) -> tuple[list[Cuts], list[str]]:
    """What each variant leaves; one line for each tool that cannot be run, which has none then.

    request: state, images, classes (and scored_images, scored_classes), as the rivals' scripts take them.
    """
    made: list[Cuts] = []
    missing: dict[str, str] = {}
    for variant in wanted:
        if variant.tool in missing:
            continue
        home = folder / str(variant).replace(", ", "-").replace(" ", "-")
        home.mkdir(parents=True, exist_ok=True)
        try:
            made.append(Cuts(variant, *shrinking(variant.run(request, home))))
        except (RivalMissingError, RivalFailedError) as error:
            missing[variant.tool] = str(error)
    return [one for one in made if one.variant.tool not in missing], list(missing.values())


def as_fast(
    cut: Cuts, speedup: float, reference: Path, sample: np.ndarray, folder: Path
) -> Pruned | None:
    """The smallest ratio whose network runs ``speedup`` times as fast as ``reference`` on ``sample``
    (bisection on the ratio, every step measured); None where even the largest is slower."""

    def measure(index: int) -> float:
        file = torch_onnx(from_state(load_file(cut.states[index])), folder)
        return compare({"reference": reference, "pruned": file}, "reference", sample, ROUNDS)[
            "pruned"
        ].ratio

    index, found = bisect(len(cut.states), speedup, measure) if cut.states else (None, 0.0)
    if index is None:
        say(f"  {cut.variant}: never {speedup:.2f}× as fast")
        return None
    say(f"  {cut.variant}: ratio {cut.ratios[index]} is {found:.2f}× as fast")
    return cut.pruned(index, found)


def as_large(cut: Cuts, wanted: int, most: float) -> Pruned | None:
    """The network of least MACs that has not fewer than ``wanted`` (beyond 1 %); None where it has more
    than ``most`` times as many."""
    sizes = [macs(from_state(load_file(state))) for state in cut.states]
    enough = [(size, index) for index, size in enumerate(sizes) if size >= FEWER * wanted]
    size, index = min(enough, default=(0, None))
    if index is None or size > most * wanted:
        say(f"  {cut.variant}: nothing near {wanted / 1e6:.1f} million MACs")
        return None
    say(f"  {cut.variant}: ratio {cut.ratios[index]} leaves {size / 1e6:.1f} million MACs")
    return cut.pruned(index, size)


@torch.no_grad()
def macs(net: nn.Module) -> int:
    """Multiply-accumulates of one image, anyone's network. The wiring of a shortcut (Select), though
    run as a convolution, is not counted: the original slices and pads."""
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, 32, 32))
    by_module = counter.get_flop_counts()
    wiring = sum(sum(c.values()) for name, c in by_module.items() if name.endswith(".shortcut"))
    return (counter.get_total_flops() - wiring) // 2


def shrinking(files: Mapping[float, Path]) -> tuple[list[float], list[Path]]:
    """The (ratios, states) smaller than every one before. A ratio may change nothing where widths are
    rounded, and where rounding would empty a layer Torch-Pruning leaves its whole group uncut."""
    ratios, states, least = [], [], float("inf")
    for ratio, file in files.items():
        size = sum(value.numel() for value in load_file(file).values())
        if size < least:
            ratios.append(ratio)
            states.append(file)
            least = size
    return ratios, states


def bisect(count: int, target: float, measure: Callable[[int], float]) -> tuple[int | None, float]:
    """The first index in 0 … count-1 whose measure reaches target, taking it to rise, and its measure;
    (None, the last measure) where the last one does not reach it."""
    low, high, best = -1, count - 1, measure(count - 1)
    if best < target:
        return None, best
    while high - low > 1:
        middle = (low + high) // 2
        found = measure(middle)
        if found >= target:
            high, best = middle, found
        else:
            low = middle
    return high, best
