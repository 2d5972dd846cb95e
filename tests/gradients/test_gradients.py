"""Two real processes that train together and tell each other less."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gradients_main import STEPS, WAYS
from torch import nn

from netsuke import NetsukeError, gradients

SIZE = 4 * (16 * 64 + 64 + 64 * 4 + 4)
"""Bytes of the gradients of a step: what each of two processes sends of them around a ring."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each process says, way by way."""
    out = tmp_path_factory.mktemp("gradients")
    script = Path(__file__).parent / "gradients_main.py"
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script), str(out)],
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, timeout=250,
    )  # fmt: skip
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
    assert plain < 0.7 < 1.386  # chance: log 4


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


def test_nothing_sent_is_no_ratio():
    assert gradients.Traffic().ratio == 1.0
