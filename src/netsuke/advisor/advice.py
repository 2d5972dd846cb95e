"""What the advisor says: proposals in the order to try them, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netsuke.advisor.rules import Finding
from netsuke.core.guess import Guess
from netsuke.core.passes import Pass
from netsuke.core.recipe import Recipe

FULL = 8
"""Bits of weights that go without saying."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A recipe with what it is expected to reach and to cost, none of it measured.

    figures: "size", "latency_p50", "memory", "energy" (where the device says enough) of the carved model
    on the device, "drop", the quality lost, and "work", seconds on this machine where its rates are known.
    gains: how many times less than the model as it came needs, by the same names.
    """

    recipe: Recipe
    reason: str
    figures: Mapping[str, Guess]
    gains: Mapping[str, float]

    @property
    def size(self) -> float:
        return self.figures["size"].value

    @property
    def seconds(self) -> float:
        """Of a call, the median."""
        return self.figures["latency_p50"].value

    def to_dict(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "recipe": [{"use": p.name, **p.settings()} for p in self.recipe],
            "reason": self.reason,
            "figures": {name: guess.to_dict() for name, guess in self.figures.items()},
            "gains": dict(self.gains),
            "source": "estimated",
        }

    @property
    def title(self) -> str:
        """``prune.channels 30 % → quantize.static``."""
        return " → ".join(map(_named, self.recipe))


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Proposals, best first; reasons for the choice; what was ruled out and why; findings: every rule that
    fired, with its source."""

    proposals: tuple[Proposal, ...]
    reasons: tuple[str, ...]
    ruled_out: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def best(self) -> Recipe:
        """The recipe to try first."""
        return self.proposals[0].recipe

    def to_dict(self) -> dict[str, Any]:
        return {
            "proposals": [p.to_dict() for p in self.proposals],
            "reasons": list(self.reasons),
            "ruled_out": list(self.ruled_out),
            "findings": [f.to_dict() for f in self.findings],
        }


def _named(one: Pass) -> str:
    settings = one.settings()
    if "ratio" in settings:
        return f"{one.name} {100 * settings['ratio']:g} %"
    bits = settings.get("weights", FULL)
    return one.name if bits == FULL else f"{one.name} {bits} bit"
