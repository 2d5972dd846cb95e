"""The network that is imitated. What it answered once is kept on disk, and never computed again.

Batches and views are drawn from the goal's seed, so that a control, a second pass or another run by the same
teacher asks the same questions in the same order ("consistent teaching": Beyer et al., 2022, keep the views
of teacher and student alike; here they are alike from run to run).
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from netsuke.nets.data import Inputs
from netsuke.nets.distillation.answers import Answer, Answers
from netsuke.nets.distillation.values import Told, Value, looked, pooled
from netsuke.nets.graph import clone
from netsuke.nets.pace import Pace


@dataclass(frozen=True)
class Heard:
    """What a teacher says of a batch: its outputs, one tensor or a tuple, and what is told of its values."""

    outputs: Any
    told: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Listening:
    """Which values of a teacher are told of, and what."""

    values: tuple[Value, ...] = ()
    told: Told = pooled

    def __str__(self) -> str:
        return f"{self.told.__qualname__} {self.values}" if self.values else ""


NOTHING = Listening()


class Teacher:
    """A frozen network, its norms folded, at the pace of the training. Its answers are floats of 32 bits.

    They are kept where they take a quarter of the question's bytes at most, a class's scores for a picture; what
    a language model says of every token would fill the disk, and is computed each time.
    """

    def __init__(
        self,
        network: GraphModule,
        pace: Pace,
        listening: Listening = NOTHING,
        answers: Callable[[str], Answers] = Answers,
    ) -> None:
        self._network = pace.settle(clone(network)).eval()
        self._pace, self._listening = pace, listening
        self._answers = answers(_mark(self._network, f"{pace} {listening}"))
        self._short = True

    def __call__(self, inputs: Inputs) -> Heard:
        """Of inputs as the pace lays them."""
        answer = self._remembered(inputs) if self._short else self._asked(inputs)
        outputs = answer[: len(answer) - len(self._listening.values)]
        return Heard(outputs[0] if len(outputs) == 1 else outputs, answer[len(outputs) :])

    @contextmanager
    def epoch(self) -> Iterator[None]:
        """What was answered within is kept at its end."""
        yield
        self._answers.flush()

    def _remembered(self, inputs: Inputs) -> Answer:
        question = _hash(*inputs)
        known = self._answers.get(question)
        if known is not None:
            return known
        answer = self._asked(inputs)
        self._short = _bytes(answer) <= _bytes(inputs) / 4
        if self._short:
            self._answers.add(question, answer)
        return answer

    def _asked(self, inputs: Inputs) -> Answer:
        with torch.no_grad(), self._pace.autocast():
            found, told = looked(
                self._network, inputs, self._listening.values, self._listening.told
            )
        each = found if isinstance(found, tuple) else (found,)
        return tuple(t.float() if t.is_floating_point() else t for t in (*each, *told))


def _mark(network: GraphModule, asked: str) -> str:
    """What the answers depend on: the network, what is asked of it and how, and who computes."""
    said = f"{network.code} {asked} {torch.__version__} {torch.get_num_threads()}"
    state = network.state_dict()
    return _hash(*(state[name] for name in sorted(state)), said=said)


def _hash(*tensors: Tensor, said: str = "") -> str:
    found = hashlib.blake2b(said.encode(), digest_size=16)
    for tensor in tensors:
        found.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        found.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def _bytes(tensors: tuple[Tensor, ...]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)
