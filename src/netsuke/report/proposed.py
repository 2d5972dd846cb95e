"""What was proposed: a row a recipe, with what it was expected to reach and to cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netsuke.core.guess import PROPOSED, Guess, proposed
from netsuke.core.quantity import show


@dataclass(frozen=True)
class Proposed:
    """title: of the recipe. cells: name of a figure → text; none of them was measured."""

    title: str
    reason: str
    cells: Mapping[str, str]


def read_proposal(data: Mapping[str, Any]) -> Proposed:
    """A proposal as a record has it; records of before ranges were told have two figures."""
    title = data.get("title") or " → ".join(str(step["use"]) for step in data["recipe"])
    if "figures" not in data:
        cells = {"size": show(data["size"], "B"), "latency_p50": show(data["seconds"], "s")}
        return Proposed(title, str(data["reason"]), cells)
    gains = data["gains"]
    cells = {
        name: proposed(Guess.from_dict(given), gains.get(name))
        for name, given in data["figures"].items()
    }
    return Proposed(title, str(data["reason"]), cells)


def proposal_rows(found: Sequence[Proposed]) -> tuple[tuple[str, ...], ...]:
    """Headings and then a row a proposal, all text; nothing where nothing was proposed."""
    names = [name for name in PROPOSED if any(name in one.cells for one in found)]
    heads = ("recipe", "why", *(PROPOSED[name] for name in names))
    rows = [(one.title, one.reason, *(one.cells.get(n, "–") for n in names)) for one in found]
    return (heads, *rows) if found else ()
