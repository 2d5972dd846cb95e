"""What is asked of a federation."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from netsuke.core.errors import NetsukeError
from netsuke.core.observer import Observer
from netsuke.federation.adaptive import Pruning
from netsuke.federation.crew import LOOPBACK
from netsuke.federation.job import compressor
from netsuke.federation.partition import partition
from netsuke.federation.strategies import MEANS, Aggregation
from netsuke.record import Origin

FEWEST = 3
"""Clients of which none knows another's change by its own and the mean."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a federation trains.

    rounds: in all, those of an interrupted call too. clients: started on this machine, among which ``partition`` shares out
    the workload's training samples ("even", "dirichlet:0.5", "owners"). epochs, lr, batch: of a client's training in
    a round; the rate falls over the rounds like a cosine. soft, temperature: how much of their loss is to imitate the network
    as it came, and at which temperature (Hinton et al., 2015). bits: of weights that are trained as integers and stored as such
    in the end, 0 for floats. compress: what is sent up ("full", "int8", "int4", "int2", "natural",
    "ternary", "sign", "topk:0.01", "topk:0.03:natural"). secure: whether the server learns the mean of the changes alone. on: paired devices that are the clients instead, each with data of its own. host: where the server listens.
    least: clients that a round needs. timeout: seconds that so many are waited for.
    """

    out: Path
    rounds: int = 10
    clients: int = 2
    partition: str = "even"
    aggregation: Aggregation = field(default_factory=Aggregation)
    pruning: Pruning = field(default_factory=Pruning)
    epochs: int = 1
    lr: float = 0.05
    batch: int = 32
    soft: float = 0.0
    temperature: float = 4.0
    bits: int = 0
    compress: str = "full"
    secure: bool = False
    on: tuple[str, ...] = ()
    host: str = LOOPBACK
    least: int = 2
    timeout: float = 600.0
    seed: int = 0
    origin: Origin = field(default_factory=Origin)
    observer: Observer = field(default_factory=Observer)

    def __post_init__(self) -> None:
        for name in ("rounds", "clients", "epochs", "batch", "least"):
            if getattr(self, name) < 1:
                raise NetsukeError(f"federate: {name} = {getattr(self, name)}; give 1 or more")
        if self.on and (len(set(self.on)) < len(self.on) or self.clients != len(self.on)):
            raise NetsukeError(
                f"federate: {self.clients} clients on {', '.join(self.on)}; give each device once, and as many clients"
            )
        if self.least > self.clients:
            raise NetsukeError(
                f"federate: {self.least} clients are needed and {self.clients} asked; give fewer (least)"
            )
        if not 0 <= self.soft <= 1 or not self.temperature > 0:
            raise NetsukeError(
                f"federate: soft {self.soft:g}, temperature {self.temperature:g}; give 0 to 1, and more than 0"
            )
        if self.bits and not 2 <= self.bits <= 8:
            raise NetsukeError(f"federate: {self.bits} bits; give 2 to 8, or 0 for floats")
        partition(self.partition)
        compressor(self.compress)
        if self.secure:
            self._check_secure()

    def _check_secure(self) -> None:
        """Raise where the server would have to see what a single client changed."""
        aggregation, open_to = self.aggregation, "of single clients, which secure aggregation hides"
        if aggregation.name not in MEANS:
            raise NetsukeError(
                f"secure: {aggregation.name} looks at values {open_to}; take {', '.join(MEANS)}"
            )
        for what, asked in (
            (f"compress = {self.compress!r} leaves out or rounds values", self.compress != "full"),
            ("prune hears what channels are worth", self.pruning.ratio > 0),
            ("noise is added to changes", aggregation.noise > 0),
        ):
            if asked:
                raise NetsukeError(f"secure: {what} {open_to}; leave one of both")
        if self.clients < FEWEST:
            raise NetsukeError(
                f"secure: {self.clients} clients know each other's change by their own; give {FEWEST} or more"
            )

    def settings(self) -> dict[str, Any]:
        """What makes two federations the same."""
        names = (
            "clients", "partition", "epochs", "lr", "batch", "soft", "temperature", "bits", "compress", "secure", "seed", "rounds"
        )  # fmt: skip
        found = {name: getattr(self, name) for name in names}
        if self.on:
            found["partition"] = "their own"
        return found | {"strategy": asdict(self.aggregation), "pruning": asdict(self.pruning)}
