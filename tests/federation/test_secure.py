"""Flower's secure aggregation: real keys, shares and masks."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from flwr.app import Context, Error, Message, MessageType, RecordDict
from flwr.common import bytes_to_ndarray, ndarray_to_bytes
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from tests.federation.test_federate import record, run
from torch import Tensor

from netsuke import NetsukeError
from netsuke.federation.letter import UPDATE, letter
from netsuke.federation.masks import MODULUS, masked, masks
from netsuke.federation.plan import Plan
from netsuke.federation.secure import SecureRounds
from netsuke.federation.strategies import Aggregation

STATE = {"weight": torch.zeros(40, 30), "bias": torch.zeros(40)}
SAMPLES = (10, 20, 30, 40)


def changes() -> list[dict[str, Tensor]]:
    torch.manual_seed(3)
    return [{n: torch.randn_like(t) / 100 for n, t in STATE.items()} for _ in SAMPLES]


@dataclass
class Clients(SecureRounds):
    """Four of them, without the network between. gone: by number the step at which one is lost. sent: under masks, by number. short: what one sends
    instead of its vector."""

    hall: object = None
    members: object = None
    least: int = 3
    timeout: float = 10.0
    check: Callable[[], None] = print
    given: list[dict[str, Tensor]] = field(default_factory=changes)
    gone: dict[int, str] = field(default_factory=dict)
    sent: dict[int, np.ndarray] = field(default_factory=dict)
    short: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = {
            n + 1: SimpleNamespace(node=n + 1, name=f"client-{n + 1}", samples=samples)
            for n, samples in enumerate(SAMPLES)
        }
        self.members = SimpleNamespace(known=known)
        self.contexts = {n: Context(1, n, {}, RecordDict({}), {}) for n in known}

    def asked(self, messages):
        found = []
        for one in messages:
            message = deepcopy(one)  # each has its own, as over a wire
            node = message.metadata.dst_node_id
            stage = message.content.config_records[RECORD_KEY_CONFIGS][Key.STAGE]
            if stage == self.gone.get(node):
                del self.contexts[node]
            if node in self.contexts:
                found.append((self.members.known[node], self._answer(node, message)))
        return found

    def _answer(self, node: int, message: Message) -> Message:
        try:
            reply = masked(message, self.contexts[node], self._train)
        except NetsukeError as error:
            return Message(Error(0, str(error)), reply_to=message)
        said = reply.content.config_records[RECORD_KEY_CONFIGS]
        if Key.MASKED_PARAMETERS in said and node in self.short:
            said[Key.MASKED_PARAMETERS] = [said[Key.MASKED_PARAMETERS][0], self.short[node]]
        elif Key.MASKED_PARAMETERS in said:
            self.sent[node] = bytes_to_ndarray(said[Key.MASKED_PARAMETERS][1])
            assert not any(len(one) for one in reply.content.array_records.values())
        return reply

    def _train(self, message: Message, context: Context) -> Message:
        number = message.metadata.dst_node_id - 1
        change = self.given[number]
        whole = torch.cat([change["weight"].flatten(), change["bias"]])
        arrays = {UPDATE: whole.view(torch.uint8)}
        figures = {"num-examples": SAMPLES[number], "loss": 1.0, "seconds": 0.5}
        return Message(letter(arrays, figures), reply_to=message)

    def collected(self):
        messages = [
            Message(letter(asked="nothing"), node, MessageType.TRAIN) for node in self.members.known
        ]
        return self._collected(messages, STATE, SimpleNamespace(round=1))


def mean(numbers: list[int]) -> dict[str, Tensor]:
    total, given = sum(SAMPLES[n] for n in numbers), changes()
    return {name: sum(given[n][name] * (SAMPLES[n] / total) for n in numbers) for name in STATE}


def assert_mean_of(found, numbers: list[int]) -> None:
    assert [one.name for one in found] == [f"client-{n + 1}" for n in numbers]
    for one in found:
        for name, tensor in mean(numbers).items():
            assert torch.allclose(one.state[name], tensor, atol=3e-6), name


def test_the_server_learns_the_mean():
    found, failed = Clients().collected()
    assert failed == {}
    assert_mean_of(found, [0, 1, 2, 3])
    assert [one.samples for one in found] == list(SAMPLES)


def test_what_a_client_sends_looks_like_chance():
    clients = Clients()
    clients.collected()
    assert len(clients.sent) == 4
    for node, sent in clients.sent.items():
        told = torch.cat(
            [clients.given[node - 1]["weight"].flatten(), clients.given[node - 1]["bias"]]
        )
        parts = sent / MODULUS
        assert parts.min() >= 0
        assert parts.max() < 1
        # Of 1,240 even numbers the mean and the spread lie within five deviations of these.
        assert abs(parts.mean() - 0.5) < 5 / np.sqrt(12 * len(parts))
        assert abs(parts.std() - 1 / np.sqrt(12)) < 0.02
        assert abs(np.corrcoef(parts, told.numpy())[0, 1]) < 5 / np.sqrt(len(parts))


@pytest.mark.parametrize("step", [Stage.SHARE_KEYS, Stage.COLLECT_MASKED_VECTORS])
def test_of_those_that_are_left(step: str):
    """Lost over its training, or before it shared its keys."""
    found, _ = Clients(gone={2: step}).collected()
    assert_mean_of(found, [0, 2, 3])


def test_too_few_are_left_to_take_the_masks_off():
    gone = {2: Stage.COLLECT_MASKED_VECTORS, 3: Stage.COLLECT_MASKED_VECTORS}
    assert Clients(gone=gone).collected()[0] == []


def test_values_that_are_no_numbers_are_not_sent():
    clients = Clients()
    clients.given[3]["weight"][0, 0] = float("nan")
    found, failed = clients.collected()
    assert failed == {"client-4": "its update has values that are no numbers"}
    assert_mean_of(found, [0, 1, 2])


@pytest.mark.parametrize("what", [ndarray_to_bytes(np.zeros(7, np.int64)), b"no array"])
def test_a_vector_that_does_not_fit_is_named_and_its_masks_come_off(what: bytes):
    found, failed = Clients(short={2: what}).collected()
    assert list(failed) == ["client-2"]
    assert "another network" in failed["client-2"] or "cannot be read" in failed["client-2"]
    assert_mean_of(found, [0, 2, 3])


def test_masks_are_of_the_whole_seed():
    one = bytes(range(32))
    other = one[4:8] + one[:4] + one[8:]  # the same to a generator that folds it into 32 bits
    first, same, second = (masks(seed, MODULUS, [(500,)])[0] for seed in (one, one, other))
    assert np.array_equal(first, same)
    assert (first == second).mean() < 0.01


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"aggregation": Aggregation(name="fedmedian")}, "fedmedian looks at values of single clients"),
        ({"aggregation": Aggregation(noise=0.1)}, "noise is added to changes"),
        ({"compress": "topk:0.1"}, "leaves out or rounds"),
        ({"clients": 2}, "2 clients know each other's change"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_it_is_refused(tmp_path: Path, how, said: str):
    with pytest.raises(NetsukeError, match=said):
        Plan(**{"out": tmp_path, "clients": 4, "secure": True, **how})


def test_it_learns_under_masks(tmp_path: Path):
    done = run(tmp_path, "--clients", "3", "--rounds", "3", "--compress", "full", "--secure")
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stdout + done.stderr
    found = record(tmp_path)
    assert found["settings"]["secure"] is True
    assert found["first"] < 0.7
    assert found["rounds"][-1]["score"] > 0.9
    for one in found["rounds"]:
        assert sorted(one["heard"]) == ["client-1", "client-2", "client-3"]
        assert one["rejected"] == {}
        assert one["up"] > 2 * one["down"]  # 64 bits a value, networks go in 32
