"""One way to imitate: which values inside the networks are compared, and how."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor, nn
from torch.fx import GraphModule

from netsuke.core.errors import NetsukeError
from netsuke.core.passes import Range
from netsuke.core.registry import named, nearest
from netsuke.nets.data import Inputs
from netsuke.nets.distillation.values import Value, embedding, hidden, pooled
from netsuke.nets.protect import within

Pair = tuple[Value, Value]
"""What a student's value is compared with: (its own, its teacher's)."""


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """What is imitated beside the outputs, which always are.

    weight: of the distance of these values in the loss, beside that of the outputs. A subclass says which
    values are compared where the user does not (``pairs``), what of a value (``told``, which is all that is
    kept of a teacher's), and how far two of these are apart (``distance``).
    """

    name: ClassVar[str]
    weight: Annotated[float, Range(0, 1e6)] = 1.0

    @abstractmethod
    def pairs(
        self, student: GraphModule, teacher: GraphModule, example: Inputs
    ) -> tuple[Pair, ...]:
        """By the shapes of what is traced. The teacher's norms are folded."""

    def told(self, value: Tensor) -> Tensor:
        """value: (batch, channels, …)."""
        return value

    def distance(self, pairs: Sequence[Pair]) -> nn.Module:
        """A module ``(mine, theirs, targets) → loss``, whose parameters are trained with the student. Asked for
        where there are pairs."""
        raise NotImplementedError


class OfEmbeddings(Method):
    """Compares what the last layers read, averaged over places: all that a network knows of a sample."""

    def pairs(
        self, student: GraphModule, teacher: GraphModule, example: Inputs
    ) -> tuple[Pair, ...]:
        mine, theirs = embedding(student, example), embedding(teacher, example)
        return () if mine is None or theirs is None else ((mine, theirs),)

    def told(self, value: Tensor) -> Tensor:
        """(batch, channels)."""
        return pooled(value)

    @abstractmethod
    def distance(self, pairs: Sequence[Pair]) -> nn.Module: ...


def method(name: str) -> Method:
    """The method of that name, as its paper has it. Raises NetsukeError listing near names."""
    return named(Method, "netsuke.nets.distillation", name)()  # type: ignore[type-abstract]


def by_size(student: GraphModule, teacher: GraphModule, example: Inputs) -> tuple[Pair, ...]:
    """Of each size of picture or sequence that both networks have, the last value of each."""
    mine, theirs = ({v.size: v for v in hidden(net, example)} for net in (student, teacher))
    return tuple((value, theirs[size]) for size, value in mine.items() if size in theirs)


def by_name(
    student: GraphModule, teacher: GraphModule, example: Inputs, names: Sequence[str]
) -> tuple[Pair, ...]:
    """What modules give that the user named: ``"layer3=stage4.2"``, the student's first, or one name for both.

    Raises NetsukeError where no module of that name hands on a value.
    """
    found = []
    for line in names:
        mine, _, theirs = line.partition("=")
        found.append(
            (
                _given_by(student, mine.strip(), example, "student"),
                _given_by(teacher, (theirs or mine).strip(), example, "teacher"),
            )
        )
    return tuple(found)


def _given_by(network: GraphModule, name: str, example: Inputs, who: str) -> Value:
    values = hidden(network, example)
    inside = [v for v in values if within(v.module, name)]
    if not inside:
        known = sorted({v.module for v in values if v.module})
        raise NetsukeError(f"pairs: the {who} has no layer {name!r}; {nearest(name, known)}")
    return inside[-1]
