"""What the server makes of its clients' networks: Flower's strategies, by name, and what goes together."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from flwr.app import ArrayRecord, Message, MetricRecord
from flwr.serverapp.strategy import (
    DifferentialPrivacyServerSideFixedClipping,
    FedAdam,
    FedAvg,
    FedMedian,
    FedProx,
    FedTrimmedAvg,
    Strategy,
)
from torch import Tensor

from netsuke.core.errors import NetsukeError


@dataclass(frozen=True, kw_only=True)
class Aggregation:
    """name: one of ``STRATEGIES``. mu: of FedProx. trim: of the trimmed mean, the share left out at either end. rate: of
    FedAdam's server. noise, clip: of differential privacy, 0 for none: the noise's deviation in clips, and the longest
    update (McMahan et al., 2018, "Learning differentially private recurrent language models")."""

    name: str = "fedavg"
    mu: float = 0.01
    trim: float = 0.2
    rate: float = 0.01
    noise: float = 0.0
    clip: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in STRATEGIES:
            raise NetsukeError(f"strategy: {self.name!r} is none of {', '.join(STRATEGIES)}")
        if self.noise < 0 or self.clip <= 0:
            raise NetsukeError(
                f"privacy: noise {self.noise:g}, clip {self.clip:g}; give 0 or more, and more than 0"
            )
        if self.noise and self.name not in PRIVATE:
            raise NetsukeError(
                f"privacy: noise is added to a mean whose clients weigh alike; {self.name} is none: take {' or '.join(PRIVATE)}"
            )

    @property
    def pull(self) -> float:
        """What its clients are held back by."""
        return self.mu if self.name == "fedprox" else 0.0


def strategy(how: Aggregation, clients: int, statistics: frozenset[str]) -> Strategy:
    """A new one for this many clients. statistics: names of arrays that are no weights."""
    made = STRATEGIES[how.name](how, statistics)
    if how.noise:
        return DifferentialPrivacyServerSideFixedClipping(made, how.noise, how.clip, clients)
    return made


def moments(made: Strategy) -> dict[str, Tensor]:
    """What a strategy remembers from round to round."""
    if not isinstance(made, FedAdam):
        return {}
    both = {"m": made.m_t or {}, "v": made.v_t or {}}
    return {
        f"{k}.{n}": torch.from_numpy(a.copy()) for k, each in both.items() for n, a in each.items()
    }


def remember(made: Strategy, found: Mapping[str, Tensor]) -> None:
    """Go on with what ``moments`` gave."""
    if isinstance(made, FedAdam) and found:
        parts = ({n[2:]: t.numpy() for n, t in found.items() if n[0] == key} for key in "mv")
        made.m_t, made.v_t = parts


class _Adam(FedAdam):
    """Statistics of BatchNorm are averaged: a variance that goes down a gradient can become negative."""

    def __init__(self, statistics: frozenset[str], **how: Any) -> None:
        super().__init__(**how)
        self._statistics = statistics

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        every = list(replies)
        arrays, metrics = super().aggregate_train(server_round, every)
        if arrays is not None:
            mean, _ = FedAvg.aggregate_train(self, server_round, every)
            assert mean is not None
            arrays = ArrayRecord(
                {name: mean[name] if name in self._statistics else arrays[name] for name in arrays}
            )
        return arrays, metrics


ALL: dict[str, Any] = {
    "fraction_evaluate": 0.0, "min_train_nodes": 1, "min_available_nodes": 1,
}  # fmt: skip
"""Whoever is there takes part; the server judges on its own samples."""
Make = Callable[[Aggregation, frozenset[str]], Strategy]
STRATEGIES: dict[str, Make] = {
    "fedavg": lambda how, _: FedAvg(**ALL),
    "fedprox": lambda how, _: FedProx(proximal_mu=how.mu, **ALL),
    "fedadam": lambda how, statistics: _Adam(statistics, eta=how.rate, **ALL),
    "fedmedian": lambda how, _: FedMedian(**ALL),
    "trimmed": lambda how, _: FedTrimmedAvg(beta=how.trim, **ALL),
}
"""McMahan et al., 2017; Li et al., 2020; Reddi et al., 2021; Yin et al., 2018, for the last two."""
MEANS = ("fedavg", "fedprox", "fedadam")
"""Those that look at the mean alone."""
PRIVATE = ("fedavg", "fedprox")
