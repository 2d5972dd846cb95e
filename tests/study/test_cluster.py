"""A study on the machines of a real Ray cluster, on loopback."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netsuke.core.budget import Budget
from netsuke.core.errors import NetsukeError
from netsuke.core.observer import Observer
from netsuke.record import Origin
from netsuke.study.outcome import read_study
from netsuke.study.space import read_space
from netsuke.study.storage import remembered
from netsuke.study.studies import Search, Study
from netsuke.study.verb import Plan, study
from netsuke.workload import read_workload

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
ray = pytest.importorskip("ray", reason="needs the extra [cluster]")

WORKLOAD = Path(__file__).parents[1] / "workload_tiny.py"
SPACE = """
[[slot]]
[[slot.pass]]
use = "quantize.weights"
scheme = ["int8", "uint8", "int4", "kmeans4", "fp16", "bf16", "e4m3", "int6"]
"""
TRIALS = 6


class Notes(Observer):
    """Keeps what is said, and does something when the first trial has ended."""

    def __init__(self, first: Callable[[], object] = lambda: None) -> None:
        self.said: list[str] = []
        self._first = first

    def note(self, text: str) -> None:
        if text.startswith("trial "):
            self.said.append(text)
            if len(self.said) == 1:
                self._first()


@pytest.fixture
def nodes() -> Iterator[Any]:
    """A head that works on nothing, and two machines of one core."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    cluster.workers = [cluster.add_node(num_cpus=1) for _ in range(2)]
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def searched(out: Path, address: str, notes: Notes) -> dict[str, Any]:
    given = read_workload(WORKLOAD)
    plan = Plan(
        out=out, trials=TRIALS, objectives=("size", "drop"), space=SPACE, sampler="random",
        advised=False, cluster=address, observer=notes, origin=Origin(workload=str(WORKLOAD)),
    )  # fmt: skip
    study(given.model, given.task, plan, budget=Budget(drop="100 pt"))
    return read_study(out)


def numbers(notes: Notes) -> list[str]:
    return [line.split(":")[0] for line in notes.said]


def test_two_machines_try_all_and_the_front_is_judged(nodes: Any, tmp_path: Path):
    notes = Notes()
    found = searched(tmp_path / "study", nodes.address, notes)
    assert numbers(notes) == [f"trial {n} of {TRIALS}" for n in range(1, TRIALS + 1)]
    assert found["over"] == TRIALS
    assert all(one["verdict"]["outcome"] == "pass" for one in found["front"])


def test_a_machine_that_dies_loses_no_trial_and_repeats_none(nodes: Any, tmp_path: Path):
    gone = nodes.workers[0]
    notes = Notes(lambda: nodes.remove_node(gone, allow_graceful=False))
    found = searched(tmp_path / "study", nodes.address, notes)
    assert numbers(notes) == [f"trial {n} of {TRIALS}" for n in range(1, TRIALS + 1)]
    assert found["over"] == TRIALS
    recipes = [one["recipe"] for one in found["trials"]]
    assert len(set(recipes)) == len(recipes)
    assert not any("died" in line for line in notes.said)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1:1", "nothing answers there"),
        ("ray://127.0.0.1:1", "nothing answers there"),
        ("somewhere", "no address; give ray://HOST:PORT"),
    ],
)
def test_an_address_where_nothing_answers_is_told(address: str, why: str, tmp_path: Path):
    with pytest.raises(NetsukeError, match=why):
        searched(tmp_path / "study", address, Notes())


def test_a_cluster_needs_a_workload_that_its_machines_can_read(tmp_path: Path):
    given = read_workload(WORKLOAD)
    plan = Plan(out=tmp_path, trials=1, space=SPACE, advised=False, cluster="auto")
    with pytest.raises(NetsukeError, match="read the workload from its file"):
        study(given.model, given.task, plan)


def test_what_is_under_way_is_not_tried_twice(tmp_path: Path):
    search = Search(space=read_space(SPACE), objectives=("size",), mark="m", sampler="random")
    with remembered(tmp_path, "", print) as storage:
        found = Study(tmp_path, storage, search)
        first, recipe = found._asked()
        second = found._study.ask()
        second.set_user_attr("recipe", recipe.to_toml())
        assert found._said_before(second, recipe, {first.number: first})
        assert found.count == 0
