"""One reason to take a technique or to leave it, with where it comes from."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from netsuke.advisor.facts import Facts

Technique = Literal[
    "quantization", "weight-only quantization", "fp16", "structured pruning", "unstructured pruning",
    "post-training", "quantization-aware training", "distillation", "sharding", "search",
]  # fmt: skip
Stance = Literal["for", "against"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A rule that fired. why: a sentence with the figure that triggered it. source: who says so."""

    rule: str
    technique: Technique
    stance: Stance
    why: str
    source: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """fire: the sentence where the rule applies, None where it does not. It looks at facts alone, never
    at a model's name."""

    name: str
    technique: Technique
    stance: Stance
    source: str
    fire: Callable[[Facts], str | None]

    def __call__(self, facts: Facts) -> Finding | None:
        why = self.fire(facts)
        if why is None:
            return None
        return Finding(
            rule=self.name,
            technique=self.technique,
            stance=self.stance,
            why=why,
            source=self.source,
        )


def rule(
    technique: Technique, stance: Stance, source: str
) -> Callable[[Callable[[Facts], str | None]], Rule]:
    """Make a function of facts a rule of its own name."""

    def made(fire: Callable[[Facts], str | None]) -> Rule:
        return Rule(
            name=fire.__name__, technique=technique, stance=stance, source=source, fire=fire
        )

    return made
