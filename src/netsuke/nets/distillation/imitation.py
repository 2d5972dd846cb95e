"""What a student has to imitate, and how far it is from it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from netsuke.core.errors import NetsukeError
from netsuke.nets.data import Inputs
from netsuke.nets.distillation.answers import Answers
from netsuke.nets.distillation.losses import Loss
from netsuke.nets.distillation.method import Method, Pair, by_name
from netsuke.nets.distillation.teacher import Heard, Listening, Teacher
from netsuke.nets.distillation.values import Value, looked
from netsuke.nets.fold import fold_batchnorm
from netsuke.nets.pace import Pace


@dataclass(frozen=True)
class Manner:
    """How a student imitates.

    method: what is compared beside the outputs; ``names`` say of which modules, by shapes where they are
    empty. soft: the distance of the outputs. answers: where what a teacher said is kept.
    """

    method: Method
    soft: Loss
    pace: Pace
    names: tuple[str, ...] = ()
    answers: Callable[[str], Answers] = Answers


class Imitation:
    """One student's; several teachers count alike (You et al., 2017, "Learning from multiple teacher
    networks": to be near each of them is to be near their mean).

    Raises NetsukeError where a teacher's outputs are not shaped like the student's, or where the method finds
    no values to compare.
    """

    def __init__(
        self, student: GraphModule, teachers: Sequence[GraphModule], how: Manner, example: Inputs
    ) -> None:
        self._how = how
        folded = [fold_batchnorm(teacher) for teacher in teachers]
        for teacher in folded:
            _check_outputs(student, teacher, example)
        self._pairs = [_pairs(how, student, teacher, example) for teacher in folded]
        self._distances = nn.ModuleList(
            how.method.distance(pairs) for pairs in self._pairs if pairs
        )
        self._teachers = [
            Teacher(teacher, how.pace, _listening(how, pairs), how.answers)
            for teacher, pairs in zip(folded, self._pairs, strict=True)
        ]

    def parameters(self) -> list[nn.Parameter]:
        """What the method trains along with the student."""
        return list(self._distances.parameters())

    @contextmanager
    def epoch(self) -> Iterator[None]:
        """What the teachers answered within is kept at its end."""
        with ExitStack() as stack:
            for teacher in self._teachers:
                stack.enter_context(teacher.epoch())
            yield

    def hear(self, inputs: Inputs) -> tuple[Heard, ...]:
        """What each teacher says of these inputs, as the pace lays them."""
        return tuple(teacher(inputs) for teacher in self._teachers)

    def look(self, student: GraphModule, inputs: Inputs) -> tuple[Any, tuple[Tensor, ...]]:
        """The student's outputs, and what is told of its values."""
        values: list[Value] = [mine for pairs in self._pairs for mine, _ in pairs]
        return looked(student, inputs, values, self._how.method.told)

    def soft(self, outputs: Any, heard: Sequence[Heard]) -> Tensor:
        """How far the student's outputs are from its teachers', in the mean over these."""
        apart = [self._how.soft(outputs, one.outputs) for one in heard]
        return apart[0] if len(apart) == 1 else torch.stack(apart).mean()

    def inside(
        self, told: tuple[Tensor, ...], heard: Sequence[Heard], target: Tensor | None
    ) -> Tensor | None:
        """How far what is told of its values is from theirs, by the method's weight; None where the method
        compares none."""
        apart = []
        for distance, one in zip(self._distances, heard, strict=bool(self._distances)):
            mine, told = told[: len(one.told)], told[len(one.told) :]
            apart.append(distance(mine, one.told, target))
        return self._how.method.weight * torch.stack(apart).mean() if apart else None


def _pairs(
    how: Manner, student: GraphModule, teacher: GraphModule, example: Inputs
) -> tuple[Pair, ...]:
    if not how.method.weight:
        return ()
    if how.names:
        return by_name(student, teacher, example, how.names)
    found = how.method.pairs(student, teacher, example)
    if not found:
        raise NetsukeError(
            f"distillation by {how.method.name}: student and teacher have no values of one size; name "
            'what to compare, as in pairs = ["layer3=stage4"]'
        )
    return found


def _listening(how: Manner, pairs: tuple[Pair, ...]) -> Listening:
    return Listening(tuple(theirs for _, theirs in pairs), how.method.told)


def _check_outputs(student: GraphModule, teacher: GraphModule, example: Inputs) -> None:
    mine, theirs = (_shapes(network, example) for network in (student, teacher))
    if mine != theirs:
        raise NetsukeError(
            f"the teacher gives {_said(theirs)} a sample, the student {_said(mine)}; they must answer alike"
        )


def _shapes(network: GraphModule, example: Inputs) -> list[tuple[int, ...]]:
    mode = network.training
    try:
        with torch.no_grad():
            outputs = network.eval()(*example)
    except (RuntimeError, IndexError) as error:
        given = ", ".join(str(tuple(t.shape[1:])) for t in example)
        raise NetsukeError(
            f"the teacher refuses inputs of {given} a sample: {str(error).strip().splitlines()[0]}"
        ) from error
    finally:
        network.train(mode)
    each = outputs if isinstance(outputs, tuple | list) else (outputs,)
    return [tuple(t.shape[1:]) for t in each]


def _said(shapes: list[tuple[int, ...]]) -> str:
    return " and ".join(str(shape) for shape in shapes)
