"""Two real processes that train together and tell each other less."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradients_main import STEPS, WAYS
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from netsuke import NetsukeError, gradients
from torchrun import torchrun

SIZE = 4 * (16 * 64 + 64 + 64 * 4 + 4)
"""Bytes of the gradients of a step: what each of two processes sends of them around a ring."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each process says, way by way."""
    out = tmp_path_factory.mktemp("gradients")
    script = Path(__file__).parent / "gradients_main.py"
    done = torchrun(str(script), str(out))
    assert done.returncode == 0, done.stderr
    return [json.loads((out / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("way", WAYS)
def test_all_processes_come_to_the_same_network(told: list[dict[str, Any]], way: str):
    first, second = told
    assert first[way]["weights"] == second[way]["weights"]


@pytest.mark.parametrize("way", [way for way in WAYS if way != "plain"])
def test_it_learns_what_it_learns_without(told: list[dict[str, Any]], way: str):
    plain, found = (told[0][which]["loss"] for which in ("plain", way))
    assert found < plain + 0.1
    assert plain < 0.7  # chance: log 4, 1.386


@pytest.mark.parametrize(
    ("way", "times"),
    [("8 bits", 3.7), ("4 bits", 7), ("2 bits", 12.5), ("ternary", 15), ("sign", 20), ("topk", 3), ("fp16", 2), ("powersgd", 4)],
)  # fmt: skip
def test_times_fewer_bytes_are_sent(told: list[dict[str, Any]], way: str, times: float):
    found = told[0][way]
    assert found["steps"] == STEPS
    assert found["plain"] == STEPS * SIZE
    assert found["ratio"] == found["plain"] / found["sent"]
    assert found["ratio"] >= times


def test_a_network_that_is_not_wrapped_is_named():
    with pytest.raises(NetsukeError, match="expected a DistributedDataParallel, got Linear"):
        gradients.compress(nn.Linear(2, 2))  # type: ignore[arg-type]


@pytest.fixture
def alone() -> Iterator[DistributedDataParallel]:
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield DistributedDataParallel(nn.Linear(2, 2))
    distributed.destroy_process_group()


def test_what_does_not_go_together_is_said(alone: DistributedDataParallel):
    with pytest.raises(NetsukeError, match="give one of them"):
        gradients.compress(alone, gradients.Ternary(), bits=8)
    with pytest.raises(NetsukeError, match="begins at step 2"):
        gradients.powersgd(alone, start=1)
    alone.to("meta")
    with pytest.raises(NetsukeError, match="the network is on meta"):
        gradients.compress(alone)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(gradients.Stochastic, {"bits": 1}), (gradients.TopK, {"momentum": 1.0}), (gradients.TopK, {"share": 2})],
)  # fmt: skip
def test_a_setting_out_of_range_is_named(kind: type, settings: dict[str, Any]):
    with pytest.raises(NetsukeError, match=next(iter(settings))):
        kind(**settings)


def test_nothing_sent_is_no_ratio():
    assert gradients.Traffic().ratio == 1.0
