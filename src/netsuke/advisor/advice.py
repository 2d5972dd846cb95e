"""What the advisor says: proposals in the order to try them, and why."""

from dataclasses import dataclass
from typing import Any

from netsuke.advisor.rules import Finding
from netsuke.core.quantity import show
from netsuke.core.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A recipe and what it is expected to reach: ``size`` bytes and ``seconds`` a call on the
    device, both estimates."""

    recipe: Recipe
    reason: str
    size: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "recipe": [{"use": p.name, **p.settings()} for p in self.recipe],
            "reason": self.reason,
            "size": self.size,
            "seconds": self.seconds,
            "source": "estimated",
        }

    def __str__(self) -> str:
        names = " → ".join(p.name for p in self.recipe)
        return (
            f"{names}: {self.reason} (estimated {show(self.size, 'B')}, {show(self.seconds, 's')})"
        )


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
