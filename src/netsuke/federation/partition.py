"""Whose samples are whose: one table of training samples shared out over clients."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np

from netsuke.core.data import Array, Stream
from netsuke.core.errors import NetsukeError
from netsuke.core.task import Splits

LEAST = 2
"""Samples that a client needs: BatchNorm cannot learn from one."""
CALIBRATED = 500
"""Samples of a client's own that importances are found on."""
DRAWS = 1000
"""How often shares are drawn until every client has as many."""


class Partition(ABC):
    """The rows of each client; every row is of one client."""

    @abstractmethod
    def rows(self, splits: Splits, clients: int, seed: int) -> tuple[Array, ...]:
        """Raises NetsukeError where the samples cannot be shared out so."""


@dataclass(frozen=True)
class Even(Partition):
    """As many each, by chance."""

    def rows(self, splits: Splits, clients: int, seed: int) -> tuple[Array, ...]:
        order = np.random.default_rng(seed).permutation(len(_labels(splits)))
        return tuple(np.sort(part) for part in np.array_split(order, clients))


@dataclass(frozen=True)
class Dirichlet(Partition):
    """Of each class the clients have shares drawn from Dirichlet's distribution (Hsu, Qi and Brown, 2019, "Measuring the
    effects of non-identical data distribution for federated visual classification").

    alpha: the smaller, the fewer classes a client has; a large one is as good as even.
    """

    alpha: float = 0.5

    def __post_init__(self) -> None:
        if not self.alpha > 0:
            raise NetsukeError(f"partition: dirichlet: {self.alpha:g}; give more than 0")

    def rows(self, splits: Splits, clients: int, seed: int) -> tuple[Array, ...]:
        labels, draw = _labels(splits), np.random.default_rng(seed)
        for _ in range(DRAWS):
            found = self._drawn(labels, clients, draw)
            if min(map(len, found)) >= LEAST:
                return found
        raise NetsukeError(
            f"partition: dirichlet:{self.alpha:g} leaves one of {clients} clients without samples; "
            f"of {len(labels):,} samples give fewer clients, or a larger number"
        )

    def _drawn(self, labels: Array, clients: int, draw: np.random.Generator) -> tuple[Array, ...]:
        parts: list[list[Array]] = [[] for _ in range(clients)]
        for label in np.unique(labels):
            own = draw.permutation(np.flatnonzero(labels == label))
            ends = np.cumsum(draw.dirichlet(np.full(clients, self.alpha)))[:-1]
            for part, piece in zip(
                parts, np.split(own, (ends * len(own)).astype(int)), strict=True
            ):
                part.append(piece)
        return tuple(np.sort(np.concatenate(part)) for part in parts)


@dataclass(frozen=True)
class Owners(Partition):
    """Each client has those of some owners, as the task names them (``Task.owners``)."""

    def rows(self, splits: Splits, clients: int, seed: int) -> tuple[Array, ...]:
        if splits.owners is None:
            raise NetsukeError("partition: owners: the task names none (Task(owners=…))")
        owners = splits.owners
        if splits.train is not None and splits.train.indices is not None:
            owners = owners[splits.train.indices]
        names = np.unique(owners)
        if len(names) < clients:
            raise NetsukeError(
                f"partition: owners: {len(names)} of them for {clients} clients; give --clients {len(names)} or fewer"
            )
        sharing = np.array_split(np.random.default_rng(seed).permutation(names), clients)
        return tuple(np.flatnonzero(np.isin(owners, own)) for own in sharing)


def partition(text: str) -> Partition:
    """``even``, ``dirichlet:ALPHA`` or ``owners``. Raises NetsukeError for another."""
    kind, _, alpha = text.partition(":")
    try:
        if kind == "dirichlet":
            return Dirichlet(float(alpha) if alpha else 0.5)
    except ValueError:
        raise NetsukeError(f"partition: {text}: {alpha!r} is no number") from None
    made: dict[str, type[Partition]] = {"even": Even, "owners": Owners}
    if text not in made:
        raise NetsukeError(f"partition: {text!r}; there are even, dirichlet:0.5 and owners")
    return made[text]()


def share(splits: Splits, how: Partition, which: tuple[int, int], seed: int) -> Splits:
    """The splits of one client. which: (its number from 0 on, how many there are).

    Raises NetsukeError where there is nothing to share out.
    """
    if splits.train is None:
        raise NetsukeError("federate: the task has no training data")
    number, clients = which
    own = how.rows(splits, clients, seed)[number]
    before = splits.train.indices
    rows = own if before is None else before[own]
    train = replace(splits.train, indices=rows)
    return replace(splits, train=train, calibrate=train.head(CALIBRATED, seed))


def check_samples(splits: Splits, name: str) -> None:
    """Raises NetsukeError where a client has too few to train on."""
    count = 0 if splits.train is None else len(splits.train)
    if count < LEAST:
        raise NetsukeError(f"federate: {name} has {count} training samples; {LEAST} are the least")


def _labels(splits: Splits) -> Array:
    """Of every training sample. Raises NetsukeError where there are none."""
    train = splits.train
    if train is None or not train.labelled:
        raise NetsukeError("partition: the task has no labelled training data")
    found = [batch.targets for batch in _table(train).batches(4096)]
    return np.concatenate([np.asarray(t) for t in found])


def _table(train: Stream) -> Stream:
    if not hasattr(train.source, "take"):
        raise NetsukeError("partition: a loader cannot be shared out; give arrays or a dataset")
    return train
