"""What pruning says of what it did: for the step's summary and notes."""

from collections import Counter
from collections.abc import Mapping

from torch.fx import GraphModule

from netsuke.nets.channels.branches import Branch
from netsuke.nets.channels.groups import Group, Groups
from netsuke.nets.channels.rehearsal import Parts, Rehearsal
from netsuke.nets.graph import tensor_of
from netsuke.passes.prune.ladders import main
from netsuke.passes.prune.space import Part, Plan, Shares, Space

Reasons = Mapping[str, str]
"""Why it was there that something left, by the name of the group or branch."""


def layers_of(part: Part) -> tuple[str, ...]:
    """Names of the layers that a part reaches into."""
    if isinstance(part, Branch):
        return part.layers
    return tuple(dict.fromkeys((*part.producers, *part.consumers)))


def reasons(space: Space, plan: Plan, why: str, rehearsal: Rehearsal, cost: str) -> dict[str, str]:
    """For each group and branch that something left: which units, what that alone saves and harms."""
    found = {}
    for group in space.parts.groups:
        if plan.widths[group.id] < group.units:
            widths = list(space.whole.widths)
            widths[group.id] = plan.widths[group.id]
            alone = _alone(space, Plan(tuple(widths)), rehearsal, cost)
            found[group.name] = f"those with {why}{_weight(space, plan, group)}; {alone}"
    for branch in plan.leaving:
        alone = _alone(space, Plan(space.whole.widths, frozenset({branch})), rehearsal, cost)
        found[branch.name] = alone
    return found


def summary(known: Parts, after: GraphModule, shares: Shares, cost: str) -> str:
    """``−38 % of seconds: 7 groups narrower (64→32, 32→16), without layer1.1, layer2.1``."""
    left = _left(known, after)
    steps: Counter[str] = Counter()
    for group in known.groups:
        width = None if _inside(group, left) else _width(group, after)
        if width is not None and width < len(main(group).unit):
            steps[f"{len(main(group).unit)}→{width}"] += 1
    said = []
    if steps:
        kinds = ", ".join(step for step, _ in steps.most_common(4)) + (
            " …" if len(steps) > 4 else ""
        )
        said.append(f"{sum(steps.values())} groups narrower ({kinds})")
    if left:
        said.append("without " + ", ".join(sorted(b.name for b in left)))
    share, weights = shares
    gone = f"−{100 * (1 - share):.0f} % of {cost}, −{100 * (1 - weights):.0f} % of parameters"
    return f"{gone}: {'; '.join(said) or 'nothing left'}"


def changes(known: Parts, after: GraphModule, why: Reasons) -> tuple[str, ...]:
    """A line for each layer whose width changed, and for each branch that left, with the reason."""
    left = _left(known, after)
    gone = {layer for b in left for layer in b.layers}
    lines: dict[str, str] = {}
    for group in known.groups:
        for m in group.members:
            layer, now = m.tensor.rpartition(".")[0], tensor_of(after, m.tensor)
            if m.role != "producer" or layer in gone or layer in lines or now is None:
                continue
            if now.shape[m.dim] < len(m.unit):
                said = f"as {group.name}" if layer != group.name else why.get(layer, "")
                lines[layer] = f"{layer}: {len(m.unit)} → {now.shape[m.dim]} channels"
                lines[layer] += f", {said}" if said else ""
    branches = (
        f"{b.name}: its branch is removed, the shortcut stays"
        + (f"; {why[b.name]}" if b.name in why else "")
        for b in left
    )
    return (*lines.values(), *sorted(branches))


def protected(known: Groups, asked: tuple[str, ...]) -> tuple[str, ...]:
    """A line for each protected layer with its reason."""
    mine = (f"protected: {name} (asked for)" for name in asked)
    return (*mine, *(f"protected: {layer} ({reason})" for layer, reason in known.protected))


def _alone(space: Space, plan: Plan, rehearsal: Rehearsal, cost: str) -> str:
    """What a plan would save, and how far it would move the outputs."""
    saved = 100 * (1 - space.shares(plan)[0])
    moved = rehearsal.damage(space.keep(plan), plan.leaving)
    return f"that alone is −{saved:.1f} % of {cost} and moves the outputs by {moved:.2g}"


def _weight(space: Space, plan: Plan, group: Group) -> str:
    """`` (4 % of their sum)``; nothing where scores may be below zero, so that shares mean nothing."""
    scores = space.scores[group.id]
    if scores.min() < 0 or not scores.sum():
        return ""
    stay = space.keep(plan)[group.id]
    return f" ({100 * (1 - scores[stay].sum() / scores.sum()):.0f} % of their sum)"


def _left(known: Parts, after: GraphModule) -> list[Branch]:
    """The branches that are no longer there: their layers are not."""
    names = {n.name for n in after.graph.nodes}
    return [b for b in known.branches if b.add not in names]


def _inside(group: Group, left: list[Branch]) -> bool:
    return any(main(group).tensor.rpartition(".")[0] in b.layers for b in left)


def _width(group: Group, after: GraphModule) -> int | None:
    """Channels of the group's own layer now; None where the layer is gone."""
    member = main(group)
    tensor = tensor_of(after, member.tensor)
    return None if tensor is None else tensor.shape[member.dim]
