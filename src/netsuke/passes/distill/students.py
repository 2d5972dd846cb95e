"""Who learns, and from whom."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from torch.fx import GraphModule

from netsuke.core.choices import Settled, is_function
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.costs import layers
from netsuke.nets.data import check
from netsuke.nets.fresh import fresh
from netsuke.nets.given import captured
from netsuke.nets.onnx_out import export_onnx
from netsuke.nets.seeded import seeded
from netsuke.passes.prune.channels import Channels
from netsuke.passes.prune.prices import Cost

Student = Literal["narrow", "same", "own"]
ROOM = 0.95
"""What of a limit a student may take: it is measured again when it is exported."""


class Asked(Protocol):
    """What a pass asks of its student."""

    @property
    def student(self) -> Student: ...
    @property
    def start(self) -> str: ...
    @property
    def ratio(self) -> float: ...
    @property
    def cost(self) -> Cost: ...
    @property
    def choices(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Start:
    """How a narrow copy is cut; refused: why it cannot be, in one line."""

    cut: Channels | None = None
    refused: str | None = None


def start_of(asked: Asked, model: Model, goal: Goal) -> Start:
    """The cut that makes the student, none where it is no narrow copy."""
    if asked.student != "narrow":
        return Start()
    ratio, cost, parameters = asked.ratio, asked.cost, 0.0
    if not ratio:
        ratio, cost, parameters = _by_budget(model, goal)
        if not ratio:
            return Start(refused=(
                "ratio = 0 takes what the budget asks, and it asks no smaller size and no lower latency; "
                "give a ratio"
            ))  # fmt: skip
    cut = Channels(
        ratio=min(max(ratio, 0.05), 0.95), cost=cost, parameters=min(parameters, 0.95),
        scope="local", epochs=0, reconstruct=asked.start == "teacher",
    )  # fmt: skip
    return Start(cut, cut.refuse(model, goal))


def made(asked: Asked, model: Model, goal: Goal) -> tuple[Model, tuple[str, ...]]:
    """(The student before its lessons, what to say of it.)"""
    student = model
    notes: tuple[str, ...] = ()
    if asked.student == "own":
        student = captured(_own(asked, goal), model.example, "student")
        check(student, goal.data)
    cut = start_of(asked, model, goal).cut
    if cut is not None:
        student = cut.apply(model, goal)
        notes = student.lineage[-1].notes
    if asked.start == "fresh" and asked.student != "own":
        student = replace(student, network=fresh(student.network, goal.seed))
    kind = {"narrow": "a narrower copy", "same": "the same architecture", "own": "the task's own student"}[asked.student]  # fmt: skip
    drawn = ", drawn anew" if asked.start == "fresh" and asked.student != "own" else ""
    return student, (f"{kind}{drawn}: {_sizes(model, student)}", *notes)


def _own(asked: Asked, goal: Goal) -> Any:
    """The task's student; of one that is a function of choices, what these make of it."""
    given = goal.data.student
    if not is_function(given):
        return given
    with seeded(goal.seed):
        return given(Settled(asked.choices))


def teachers_of(model: Model, goal: Goal) -> tuple[tuple[GraphModule, ...], str]:
    """(The networks that teach, who they are.) Raises NetsukeError where one refuses the task's data."""
    given: Sequence[object] = goal.data.teachers
    if not given:
        return (model.network,), "the network as it came"
    found = [captured(one, model.example, f"teacher {i + 1}") for i, one in enumerate(given)]
    for teacher in found:
        check(teacher, goal.data)
    count = "the task's teacher" if len(found) == 1 else f"{len(found)} teachers of the task, alike"
    sizes = " and ".join(f"{_count(one):,} parameters" for one in found)
    return tuple(one.network for one in found), f"{count} ({sizes})"


def _by_budget(model: Model, goal: Goal) -> tuple[float, Cost, float]:
    """(Ratio, of which cost, ratio of parameters): what must leave for the limits on size and latency."""
    limits = goal.budget.limits()
    size = limits.get("size")
    fewer = 0.0 if size is None else 1 - ROOM * size / len(export_onnx(model).content)
    late = limits.get("latency_p95")
    if late is not None and goal.clock is not None:
        quicker = 1 - ROOM * late / goal.clock(model)
        if quicker > 0:
            return quicker, "seconds", max(fewer, 0.0)
    return max(fewer, 0.0), "bytes", 0.0


def _sizes(before: Model, after: Model) -> str:
    count, left = _count(before), _count(after)
    work, rest = (sum(layer.macs for layer in layers(m)) for m in (before, after))
    return (
        f"{count:,} → {left:,} parameters ({_change(count, left)}), "
        f"{work:,} → {rest:,} MACs a sample ({_change(work, rest)})"
    )


def _change(before: int, after: int) -> str:
    return f"{100 * (after / max(before, 1) - 1):+.0f} %".replace("-", "−")


def _count(model: Model) -> int:
    return sum(p.numel() for p in model.network.parameters())
