"""Distillation in the user's own loop: ``distill``, then train as ever."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from netsuke.core.errors import NetsukeError
from netsuke.nets.capture import capture
from netsuke.nets.distillation.answers import Unkept
from netsuke.nets.distillation.imitation import Imitation, Manner
from netsuke.nets.distillation.losses import Answering, distance
from netsuke.nets.distillation.method import method as find_method
from netsuke.nets.given import captured
from netsuke.nets.graph import adopt
from netsuke.nets.pace import Pace


class Lesson(nn.Module):
    """A student's forward pass with its teachers beside it.

    Called with the student's inputs it gives (outputs, how far these and what else is compared are from the
    teachers'). The student stays the user's module, and is trained in place; give this module's parameters to
    the optimizer, for a method may train something along.
    """

    def __init__(self, student: nn.Module, network: nn.Module, imitation: Imitation) -> None:
        super().__init__()
        self.student = student
        self._hidden = network, imitation
        self.beside = nn.ParameterList(imitation.parameters())

    def forward(self, *inputs: Tensor, target: Tensor | None = None) -> tuple[Any, Tensor]:
        """target: class numbers, for methods that spare samples of the same class."""
        network, imitation = self._hidden
        network.train(self.student.training)
        outputs, told = imitation.look(network, inputs)  # type: ignore[arg-type]
        heard = imitation.hear(inputs)
        apart = imitation.soft(outputs, heard)
        inside = imitation.inside(told, heard, target)
        return outputs, apart if inside is None else apart + inside


def distill(
    student: nn.Module, teachers: Any, samples: Tensor | Sequence[Tensor], *, method: str = "logits",
    temperature: float = 4.0, answers: Answering = "classes", pairs: Sequence[str] = (),
) -> Lesson:  # fmt: skip
    """What a student is to imitate, as a loss for a loop of your own.

    teachers: a module or an ``.onnx`` file, or several. samples: two or more inputs, a tensor an input.
    method: what is compared beside the outputs ("logits" nothing, "hints", "attention", "relational",
    "contrastive"), in modules named by ``pairs``, by shapes where none is. answers: "classes" right behind the
    samples, "tokens" in the last dimension, or "values".

        lesson = netsuke.distill(student, teacher, x[:2], method="attention")
        optimizer = torch.optim.SGD(lesson.parameters(), lr=0.1)
        outputs, apart = lesson(x)
        (0.1 * F.cross_entropy(outputs, y) + 0.9 * apart).backward()

    Raises NetsukeError where a model does not trace, or teacher and student do not answer alike.
    """
    if answers not in ("classes", "tokens", "values"):
        raise NetsukeError(f"distill: answers = {answers!r} is none of classes, tokens, values")
    example = (samples,) if isinstance(samples, Tensor) else tuple(samples)
    network = capture(student, example, "student").network
    adopt(network, student)
    several = teachers if isinstance(teachers, list | tuple) else [teachers]
    found = [captured(t, example, f"teacher {i + 1}").network for i, t in enumerate(several)]
    how = Manner(
        find_method(method), distance(answers, temperature), Pace(channels_last=False), tuple(pairs),
        Unkept,
    )  # fmt: skip
    return Lesson(student, network, Imitation(network, found, how, example))
