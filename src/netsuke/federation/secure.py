"""Rounds of which the server learns the mean of what its clients changed, and of none of them what it changed.

Flower's SecAgg+ in four steps: keys; shares of them, sealed for the other clients; vectors under masks that cancel out in the sum;
and the shares that take off the masks of those who are left. The server must hold to it: one that hands clients false keys
learns what they sent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.common import FitIns, FitRes, Parameters, bytes_to_ndarray, parameters_to_ndarrays
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS
from flwr.common.secure_aggregation.secaggplus_constants import Key as Said
from flwr.server import LegacyContext
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key
from flwr.serverapp import Grid
from torch import Generator

from netsuke.federation.job import Asked
from netsuke.federation.masks import MODULUS
from netsuke.federation.received import Trained
from netsuke.federation.rounds import Rounds
from netsuke.federation.update import State, applied, learned
from netsuke.nets.compressors.full import Full

SHARES = 2 / 3
"""Of the clients, as many as must be left in the end: fewer cannot take a mask off together."""
LONGEST = 64.0
"""Every value of a change is cut to this length on either side."""
TRIES = 3
"""How often a round is begun with who is left, where one went before it had shared its key."""


class SecureRounds(Rounds):
    """As ``Rounds``, under masks."""

    def _collected(
        self, messages: list[Message], state: State, asked: Asked
    ) -> tuple[list[Trained], dict[str, str]]:
        for _ in range(TRIES):
            count = sum(t.numel() for t in learned(state).values())
            found = _Sum(messages, self, count)
            found.run(asked.round)
            if found.results:
                return self._trained(found, state), found.failed
            there = found.answered
            messages = [m for m in messages if m.metadata.dst_node_id in there]
            if len(messages) < self.least:
                break
        return [], found.failed

    def _trained(self, found: "_Sum", state: State) -> list[Trained]:
        """Of each client the mean of all, so that the mean of those is that again."""
        mean = applied(state, Full().pack(torch.from_numpy(found.mean), Generator()), Full())
        return [
            Trained(
                message=found.replies[node], name=self.members.known[node].name, state=mean, length=0.0,
                bytes=found.sizes[node], samples=one.num_examples,
                loss=float(one.metrics["loss"]), seconds=float(one.metrics["seconds"]),
            )
            for node, one in found.results.items()
        ]  # fmt: skip


@dataclass
class _Sum:
    """One run of the protocol. messages: a round's, by whom it goes to. count: values of a change. answered: clients that did at its last step. failed: why,
    by name. results, replies, sizes: by client. mean: of the vectors, by samples."""

    messages: list[Message]
    rounds: Rounds
    count: int
    answered: set[int] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    results: dict[int, FitRes] = field(default_factory=dict)
    replies: dict[int, Message] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    mean: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def run(self, number: int) -> None:
        content = {m.metadata.dst_node_id: m.content for m in self.messages}
        # Sums of as many whole numbers stay below the modulus.
        levels = MODULUS // (2 * len(content))
        most = max(self.rounds.members.known[node].samples for node in content)
        protocol = _Protocol(
            num_shares=1.0, reconstruction_threshold=SHARES, max_weight=float(most), clipping_range=LONGEST,
            quantization_range=levels, modulus_range=MODULUS,
        )  # fmt: skip
        protocol.content = content
        records = {
            MAIN_CONFIGS_RECORD: ConfigRecord({str(Key.CURRENT_ROUND): number}),
            MAIN_PARAMS_RECORD: ArrayRecord(),
        }
        nowhere = Context(0, 0, {}, RecordDict(records), {})  # type: ignore[arg-type]
        there = SimpleNamespace(num_available=lambda: len(content))
        protocol(cast(Grid, self), LegacyContext(nowhere, None, cast(Any, self), cast(Any, there)))

    def send_and_receive(
        self, messages: Iterable[Message], timeout: float | None = None
    ) -> list[Message]:
        """As Flower's grid: a step's answers, of who is in time."""
        right = []
        for member, reply in self.rounds.asked(list(messages)):
            why = self._wrong(reply)
            if why:
                self.failed[member.name] = why
                continue
            right.append(reply)
            self.replies[member.node] = reply
            self.sizes[member.node] = self.sizes.get(member.node, 0) + _size(reply)
        self.answered = {reply.metadata.src_node_id for reply in right}
        return right

    def _wrong(self, reply: Message) -> str:
        """Why an answer cannot be used; "" where it can. One that has no vector that fits is as good as none: its masks come off
        like those of a client that is lost."""
        if reply.has_error():
            return str(reply.error.reason)
        vectors = reply.content.config_records[RECORD_KEY_CONFIGS].get(Said.MASKED_PARAMETERS)
        if vectors is None:
            return ""
        try:
            shapes = [bytes_to_ndarray(one).shape for one in cast(list[bytes], vectors)]
        except (ValueError, TypeError) as error:
            return f"what it sent cannot be read: {error}"
        if shapes != [(1,), (self.count,)]:
            return f"its update is of another network: {shapes}, {self.count:,} values expected"
        return ""

    def configure_fit(
        self, number: int, parameters: Parameters, clients: Any
    ) -> list[tuple[Any, FitIns]]:
        """As a strategy of Flower's: who takes part."""
        nothing = FitIns(Parameters([], ""), {})
        return [(SimpleNamespace(node_id=m.metadata.dst_node_id), nothing) for m in self.messages]

    def aggregate_fit(
        self, number: int, results: list[tuple[Any, FitRes]], failures: list[Any]
    ) -> tuple[None, Mapping[str, Any]]:
        """As a strategy of Flower's: what came of it."""
        self.results = {proxy.node_id: result for proxy, result in results}
        (self.mean,) = parameters_to_ndarrays(results[0][1].parameters)
        return None, {}


class _Protocol(SecAggPlusWorkflow):
    """With messages of our own for the step in which clients train. content: of those, by client."""

    content: Mapping[int, RecordDict]

    def setup_stage(self, grid: Grid, context: LegacyContext, state: Any) -> bool:
        going = super().setup_stage(grid, context, state)
        state.nid_to_fitins = {
            node: RecordDict(dict(content)) for node, content in self.content.items()
        }
        return going and _all(state)

    def share_keys_stage(self, grid: Grid, context: LegacyContext, state: Any) -> bool:
        return super().share_keys_stage(grid, context, state) and _all(state)


def _all(state: Any) -> bool:
    """Whether nobody was lost so far. In the end the others are asked for shares of the lost one's key, which it had not given
    them yet, and cannot answer: the round is better begun anew."""
    return bool(state.active_node_ids == state.sampled_node_ids)


def _size(reply: Message) -> int:
    """Bytes of what a step's answer says."""
    if reply.has_error():
        return 0
    every = [v for record in reply.content.config_records.values() for v in record.values()]
    flat = [one for value in every for one in (value if isinstance(value, list) else [value])]
    return sum(len(one) if isinstance(one, bytes | str) else 8 for one in flat)
