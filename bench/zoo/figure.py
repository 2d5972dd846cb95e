"""The figure of the zoo: on how many architectures is what is left exactly what was masked?"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from bench._harness import Bench, Claim, Figure, say
from bench.zoo import ENTRIES
from bench.zoo._parts import Entry
from bench.zoo._trial import Outcome, count, prune
from netsuke.core.errors import NetsukeError
from netsuke.nets.capture import capture
from netsuke.nets.channels.groups import groups
from netsuke.nets.graph import op

RATIOS = (0.3, 0.7)
LEAST = {0.3: 0.15, 0.7: 0.4}
"""The share of parameters that must leave at a ratio: else too much is protected to speak of pruning."""
ATTENTION = ("scaled_dot_product_attention", "einsum")
QUICK = ("ResNet (bottlenecks)", "Llama style")


@dataclass(frozen=True)
class Row:
    """What became of one architecture. whole, narrower: an outcome a ratio, with attention heads leaving
    whole, and, where there are any, getting narrower. protected: (layer, reason).
    """

    name: str
    parameters: int = 0
    units: int = 0
    whole: tuple[Outcome, ...] = ()
    narrower: tuple[Outcome, ...] = ()
    protected: tuple[tuple[str, str], ...] = ()
    trouble: str = ""

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not hold, a line each."""
        found = [self.trouble] if self.trouble else []
        for outcome in (*self.whole, *self.narrower):
            found += [f"at {outcome.ratio:.0%}: {p}" for p in outcome.problems]
            if not outcome.problems and 1 - outcome.left < LEAST[outcome.ratio]:
                found.append(f"at {outcome.ratio:.0%}: only {1 - outcome.left:.0%} leaves")
        return tuple(found)


def zoo(bench: Bench) -> Figure:
    """The figure."""
    chosen = [e for e in ENTRIES if not bench.quick or e.name in QUICK]
    rows = list(measured(chosen))
    right = sum(not row.problems for row in rows)
    claims = (
        Claim("architectures pruned right at 30 % and 70 %", right, "", "≥", len(chosen)),
        Claim("architectures tried", len(chosen), "", "≥", 25),
    )
    details = {row.name: asdict(row) for row in rows}
    wrong = tuple(f"{row.name}: {row.problems[0]}" for row in rows if row.problems)
    return Figure("channel groups on a zoo of architectures", claims, len(rows), details, wrong)


def measured(entries: list[Entry]) -> Iterator[Row]:
    """A row for each architecture, as they are done."""
    for entry in entries:
        row = measure(entry)
        gone = ", ".join(f"{1 - o.left:.0%}" for o in (*row.whole, *row.narrower))
        say(f"  {entry.name}: {row.problems[0] if row.problems else gone}")
        yield row


def measure(entry: Entry, ratios: tuple[float, ...] = RATIOS) -> Row:
    """One architecture."""
    module, inputs = entry.build()
    try:
        model = capture(module, inputs, entry.name)
        known = groups(model)
    except NetsukeError as error:
        return Row(entry.name, trouble=str(error))
    narrower: tuple[Outcome, ...] = ()
    if any(op(n) in ATTENTION for n in model.network.graph.nodes):
        found = groups(model, heads="narrower")
        narrower = tuple(prune(model, found, r) for r in ratios)
    whole = tuple(prune(model, known, r) for r in ratios)
    units = sum(g.units for g in known)
    return Row(entry.name, count(model.network), units, whole, narrower, known.protected)
