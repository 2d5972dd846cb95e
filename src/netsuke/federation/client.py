"""A client: what it says of itself, and what it makes of a round. Its samples never leave it."""

import json
import time
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from torch import Generator

from netsuke.core.budget import Budget
from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.observer import Observer
from netsuke.federation.adaptive import Shape, worth
from netsuke.federation.job import Asked, Job, asked, compressor
from netsuke.federation.letter import UPDATE, described, letter, state_in, text_in
from netsuke.federation.masks import masked, under_masks
from netsuke.federation.partition import check_samples, partition, share
from netsuke.federation.update import WEIGHTS, State, changed, learned, moved
from netsuke.intake import take_goal, take_model
from netsuke.nets.channels.groups import Groups, groups
from netsuke.nets.channels.surgery import cut, put_back, taken_out
from netsuke.nets.compressors.memory import Memory
from netsuke.nets.graph import clone
from netsuke.nets.quantizers.rehearsed import rehearsed
from netsuke.nets.training.plan import TrainPlan
from netsuke.nets.training.stint import StintPlan, stint
from netsuke.workload import read_workload


class Client:
    """One of a federation's, number ``number`` of its job. Raises NetsukeError where its workload cannot be read, or
    it has nothing to train on."""

    def __init__(self, job: Job, number: int) -> None:
        given = read_workload(Path(job.workload))
        goal = take_goal(given.task, "local", Budget(), job.seed, Observer())
        # As it came, for ever: what is trained is a copy.
        self._model: Model = take_model(job.onnx or given.model, goal.data, "model")
        if job.partition:
            which = (number, job.clients)
            own = share(goal.data, partition(job.partition), which, job.seed)
            goal = replace(goal, data=own)
        self._name = f"{job.name}-{number + 1}" if job.partition else job.name
        check_samples(goal.data, self._name)
        self._goal: Goal = goal
        self._secure = job.secure
        self._draw = Generator().manual_seed(job.seed + number)
        self._memory: Memory | None = None
        self._trained = 0
        self._shape: Shape = {}
        self._network = clone(self._model.network)
        self.app = ClientApp()
        self.app.query()(self.hello)
        self.app.query("worth")(self.worth)
        self.app.train(mods=[masked])(self.train)

    def hello(self, message: Message, context: Context) -> Message:
        """Who this is, how many samples it has, and of which network."""
        assert self._goal.data.train is not None
        said = {
            "name": self._name,
            "samples": len(self._goal.data.train),
            "network": described(self._model.network.state_dict()),
            "time": time.time(),
        }
        return Message(letter(hello=json.dumps(said)), reply_to=message)

    def train(self, message: Message, context: Context) -> Message:
        """A round's training of the network that came; what it changed."""
        start = time.monotonic()
        self._check_open(message)
        task = asked(text_in(message, "asked"))
        self._reshape({int(group): units for group, units in task.shape.items()})
        network = self._network
        before = state_in(message, network.state_dict())
        network.load_state_dict(before, strict=False)
        at_work = rehearsed(network, task.bits) if task.bits else network
        teachers = (self._model.network,) if task.soft else ()
        made = stint(at_work, teachers, self._goal.data, _plan(task))
        by = compressor(task.by)
        self._memory = self._memory or by.memory()
        if self._trained and task.lost.get(self._name) == self._trained:
            self._memory.lost(WEIGHTS)
        self._trained = task.round
        update = changed(before, made.network.state_dict(), by, self._memory, self._draw)
        figures = {
            "num-examples": made.samples, "loss": made.loss, "seconds": time.monotonic() - start
        }  # fmt: skip
        return Message(letter({UPDATE: update}, figures), reply_to=message)

    def worth(self, message: Message, context: Context) -> Message:
        """What the units of the network that came are worth on this client's samples."""
        self._check_open(message)
        network = clone(self._model.network)
        network.load_state_dict(state_in(message, network.state_dict()), strict=False)
        found = worth(replace(self._model, network=network), self._goal)
        arrays = {str(number): torch.from_numpy(each).float() for number, each in enumerate(found)}
        return Message(letter(arrays), reply_to=message)

    def _check_open(self, message: Message) -> None:
        """Raise where an answer in the open is asked of a client that gives none."""
        if self._secure and not under_masks(message):
            raise NetsukeError(
                "it says what it learned under masks alone; give netsuke federate --secure"
            )

    def _reshape(self, shape: Shape) -> None:
        """Have the network that the server cut so far, and of what is kept for later what there is of it."""
        if shape == self._shape:
            return
        known, earlier, before = (
            self._groups,
            self._shape,
            learned(self._model.network.state_dict()),
        )
        nothing = {name: torch.zeros_like(tensor) for name, tensor in before.items()}

        def there(kept: State) -> State:
            return taken_out(put_back(nothing, kept, known, earlier), known, shape)

        if self._memory is not None:
            moved(self._memory, learned(self._network.state_dict()), there)
        whole = self._model.network
        self._network = cut(self._model, shape, known) if shape else clone(whole)
        self._shape = shape

    @cached_property
    def _groups(self) -> Groups:
        return groups(self._model)


def _plan(task: Asked) -> StintPlan:
    training = TrainPlan(
        epochs=task.epochs, lr=task.lr, batch=task.batch, soft=task.soft, temperature=task.temperature
    )  # fmt: skip
    return StintPlan(training=training, pull=task.pull, seed=task.seed + task.round)
