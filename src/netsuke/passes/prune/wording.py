"""What pruning says of what it did: for the step's summary and notes."""

from collections import Counter

from netsuke.nets.channels.branches import Branch
from netsuke.nets.channels.groups import Groups
from netsuke.passes.prune.ladders import main
from netsuke.passes.prune.space import Part, Plan, Space


def layers_of(part: Part) -> tuple[str, ...]:
    """Names of the layers that a part reaches into."""
    if isinstance(part, Branch):
        return part.layers
    return tuple(dict.fromkeys((*part.producers, *part.consumers)))


def summary(space: Space, plan: Plan, cost: str) -> str:
    """``−38 % of seconds: 7 groups narrower (64→32, 32→16), without layer1.1, layer2.1``."""
    keep = space.keep(plan)
    steps: Counter[str] = Counter()
    for group in space.parts.groups:
        member = main(group)
        now = space.ladders.width(member.tensor, member.dim, keep)
        if plan.widths[group.id] < group.units:
            steps[f"{len(member.unit)}→{now}"] += 1
    said = []
    if steps:
        kinds = ", ".join(step for step, _ in steps.most_common(4)) + (
            " …" if len(steps) > 4 else ""
        )
        said.append(f"{sum(steps.values())} groups narrower ({kinds})")
    if plan.leaving:
        said.append("without " + ", ".join(sorted(b.name for b in plan.leaving)))
    share, weights = space.shares(plan)
    gone = f"−{100 * (1 - share):.0f} % of {cost}, −{100 * (1 - weights):.0f} % of parameters"
    return f"{gone}: {'; '.join(said) or 'nothing left'}"


def changes(space: Space, plan: Plan) -> tuple[str, ...]:
    """A line for each layer whose width changed, and for each branch that left."""
    keep, lines = space.keep(plan), {}
    gone = {layer for b in plan.leaving for layer in b.layers}
    for group in space.parts.groups:
        for m in group.members:
            layer = m.tensor.rpartition(".")[0]
            if m.role == "producer" and layer not in gone:
                now = space.ladders.width(m.tensor, m.dim, keep)
                if now < len(m.unit):
                    lines[layer] = f"{layer}: {len(m.unit)} → {now} channels"
    left = (f"{b.name}: its branch is removed, the shortcut stays" for b in plan.leaving)
    return (*lines.values(), *sorted(left))


def protected(known: Groups, asked: tuple[str, ...]) -> tuple[str, ...]:
    """A line for each protected layer with its reason."""
    mine = (f"protected: {name} (asked for)" for name in asked)
    return (*mine, *(f"protected: {layer} ({reason})" for layer, reason in known.protected))
