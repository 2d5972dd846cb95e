"""The network that is imitated. What it answered once is kept on disk, and never computed again.

Batches and views are drawn from the goal's seed, so that a control, a second pass or another run by the same
teacher asks the same questions in the same order ("consistent teaching": Beyer et al., 2022, keep the views
of teacher and student alike; here they are alike from run to run).
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.fx import GraphModule

from netsuke.core.files import beside
from netsuke.nets.data import Inputs
from netsuke.nets.fold import fold_batchnorm
from netsuke.nets.graph import clone
from netsuke.nets.training.attention import Maps, attended
from netsuke.nets.training.pace import Pace

ROOM = 1 << 30
"""Bytes that answers of all teachers take on disk at most; the oldest leave first."""
Answer = tuple[Tensor, ...]


def folder() -> Path:
    """``netsuke/teachers`` in ``$XDG_CACHE_HOME``, else in ``~/.cache``. It may be deleted at any time."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "netsuke" / "teachers"


class Teacher:
    """A frozen network at the pace of the training. Its answers are floats of 32 bits.

    They are kept where they take a quarter of the question's bytes at most, a class's scores for a picture; what
    a language model says of every token would fill the disk, and is computed each time. looks: nodes whose
    maps of attention are told besides.
    """

    def __init__(self, network: GraphModule, pace: Pace, looks: tuple[str, ...] = ()) -> None:
        self._network = pace.settle(clone(fold_batchnorm(network))).eval()
        self._pace, self.looks = pace, looks
        self._place = folder() / _mark(self._network, f"{pace} {looks}")
        self._known: dict[str, Callable[[], Answer]] = dict(_read(self._place))
        self._new: dict[str, Answer] = {}

    def __call__(self, inputs: Inputs) -> tuple[Any, Maps]:
        """Its outputs, one tensor or a tuple, for inputs as the pace lays them; and its maps."""
        question = _hash(*inputs)
        known = self._known.get(question)
        answer = self._asked(inputs) if known is None else known()
        if known is None and _bytes(answer) <= _bytes(inputs) / 4:
            self._new[question] = answer
        outputs = answer[: len(answer) - len(self.looks)]
        return outputs[0] if len(outputs) == 1 else outputs, answer[len(outputs) :]

    @contextmanager
    def epoch(self) -> Iterator[None]:
        """What was answered within is kept at its end."""
        yield
        if self._new:
            named = {
                f"{q} {i}": t.contiguous() for q, a in self._new.items() for i, t in enumerate(a)
            }
            with beside(self._place / f"{next(iter(self._new))}.safetensors") as draft:
                save_file(named, draft)
            _make_room(self._place.parent)
            self._known |= {q: lambda a=a: a for q, a in self._new.items()}  # type: ignore[misc]
            self._new = {}

    def _asked(self, inputs: Inputs) -> Answer:
        with torch.no_grad(), self._pace.autocast():
            found, maps = attended(self._network, inputs, self.looks)
        each = found if isinstance(found, tuple) else (found,)
        return tuple(t.float() if t.is_floating_point() else t for t in (*each, *maps))


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


def _read(place: Path) -> Iterator[tuple[str, Callable[[], Answer]]]:
    """Question → its answer, read from the mapped file when it is asked for. A damaged file is removed."""
    for path in sorted(place.glob("*.safetensors")):
        try:
            file = safe_open(path, framework="pt")
        except SafetensorError:
            path.unlink()
            continue
        count: dict[str, int] = {}
        names: list[str] = file.keys()
        for name in names:
            question = name.partition(" ")[0]
            count[question] = count.get(question, 0) + 1
        for question, parts in count.items():
            yield question, _reader(file, question, parts)


def _reader(file: Any, question: str, parts: int) -> Callable[[], Answer]:
    return lambda: tuple(file.get_tensor(f"{question} {i}") for i in range(parts))


def _make_room(shelf: Path) -> None:
    files = sorted(shelf.glob("*/*.safetensors"), key=lambda path: path.stat().st_mtime)
    left = sum(path.stat().st_size for path in files)
    for path in files:
        if left <= ROOM:
            return
        left -= path.stat().st_size
        path.unlink()
