"""While it trains, fast at first and slower towards the end (Zhu and Gupta, 2017)."""

from typing import ClassVar

from torch.fx import GraphModule

from netsuke.nets.sparse.schedule import Job, Pruned, Schedule, cubic, said
from netsuke.nets.sparse.zeros import Zeros
from netsuke.nets.training.way import Way

RAMP = 0.5
"""The share of the training in which weights leave; the rest mends what it cost."""
UPDATES = 25
"""In so many steps."""


class Gradual(Schedule):
    """Masks grow along a cubic curve over the first half of the training; a weight that left stays
    away. Only epochs that end behind it may be kept."""

    name: ClassVar[str] = "gradual"

    def prune(self, job: Job) -> Pruned:
        ramp = Ramp(job)
        made = job.trained(job.network, ramp.way())
        return Pruned(made.network, said(job, made))


class Ramp:
    """One pruning in progress."""

    def __init__(self, job: Job) -> None:
        self._job, self._done, self.zeros = job, 0, Zeros.of(job.network)

    def way(self) -> Way:
        """The ramp as a way to train."""
        return Way(before=self.before, counts=lambda p: p >= RAMP, zeros=self.zeros)

    def before(self, network: GraphModule, progress: float) -> None:
        due = min(UPDATES, int(UPDATES * progress / RAMP))
        if due > self._done:
            self._done = due
            kept, scores = self.zeros.kept, self._job.scores(network)
            for name, mask in kept.items():
                if name in scores:
                    scores[name] = scores[name].masked_fill(~mask, -1.0)
            self.zeros.prune(network, self._job.masks(scores, cubic(due / UPDATES)))
