"""The ways ModelOpt's FastNAS is called in prune's figure 3."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench._rivals import rival

FASTNAS = "ModelOpt FastNAS"
SHARES = (0.9, 0.8, *(round(0.7 - 0.0125 * i, 4) for i in range(45)))
FAIR = (
    "FastNAS got widths in multiples of 4, 8 and 16 (its default of 32 leaves most layers uncut), the "
    "slice-and-pad shortcuts and the classifier as 1×1 convolutions it can cut, the residual stream free or held, batch norms "
    "measured anew for every width it scores, and the 2,000 validation images to score on; it removes no blocks"
)


@dataclass(frozen=True)
class FastNas:
    """One search space. scope: widths of the residual stream searched as well ("global") or left alone
    ("inner"). divisor: of every width. shares: bounds of the FLOPs, parts of 1, falling."""

    scope: str
    divisor: int
    shares: tuple[float, ...] = SHARES

    tool = "modelopt"
    title = FASTNAS

    def __str__(self) -> str:
        return f"FastNAS, {self.scope}, widths by {self.divisor}"

    def run(self, request: Mapping[str, Any], home: Path) -> dict[float, Path]:
        """By the share of the FLOPs that leaves at least."""
        reply = rival(self.tool, {**request, **asdict(self), "folder": str(home)}, home)
        return {round(1 - float(share), 4): Path(name) for share, name in reply["files"].items()}


def searches(quick: bool) -> list[FastNas]:
    """Every search space; one, with few bounds, in a rehearsal."""
    if quick:
        return [FastNas("global", 16, (0.8, 0.5, 0.35))]
    return [FastNas(scope, divisor) for scope in ("global", "inner") for divisor in (4, 8, 16)]
