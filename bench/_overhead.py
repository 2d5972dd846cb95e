"""Figure 6 of `bench search`: what a study costs beside its trials, and what a second machine is worth."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench._harness import Bench, Claim, Figure, say, timed
from bench._kept import kept_json, source_of
from netsuke.core.observer import Observer

WORKLOAD = Path(__file__).parent / "_resnet20_workload.py"
TRIALS = 50
GRID = """
[[slot]]
[[slot.pass]]
use = "quantize.static"
weights = [8, 7, 6, 5, 4]
rounding = ["nearest", "gptq"]
estimator = ["mse", "percentile"]
correct = ["none", "bias"]
"""
"""Drawn by chance from one seed, so that one machine and two do the same work."""
POINTS, KILLED = 36, 12
"""Trials on a cluster; on one of which a machine is killed."""


def overhead(bench: Bench) -> Figure:
    """A post-training study alone; then one on a cluster of one core, of two, and of two of which one is killed."""
    os.environ["NETSUKE_DATA"] = str(bench.data)
    alone = _alone(bench)
    spent = {nodes: _clustered(bench, nodes, POINTS) for nodes in (1, 2)}
    killed = _clustered(bench, 2, KILLED, kill=True)
    faster = spent[1]["seconds"] / spent[2]["seconds"]
    claims = (
        Claim("of a study is neither training nor measuring", alone["overhead"], "%", "≤", 2.0),
        Claim("two nodes against one", faster, "x", "≥", 1.5),
        Claim("trials lost with a node that was killed", killed["lost"], "", "≤", 0),
        Claim("trials repeated", killed["repeated"], "", "≤", 0),
    )
    details = {"alone": alone, "nodes": {str(n): s for n, s in spent.items()}, "killed": killed}
    note = f"{alone['count']} trials took {alone['trials']:.0f} s, the study beside them {alone['beside']:.1f} s"
    took = ", ".join(f"{n} in {s['seconds']:.0f} s" for n, s in spent.items())
    nodes = f"{POINTS} trials by nodes, with the front judged: {took}"
    return Figure("the cost of a study", claims, alone["count"], details, (note, nodes))


def _alone(bench: Bench) -> dict[str, Any]:
    """The default space and objectives, in this process; half an hour, so it is kept."""
    import netsuke.study as home

    how = f"alone {TRIALS} {source_of(home)}"
    return kept_json(bench, how, lambda: _spent_alone(bench))  # type: ignore[no-any-return]


def _spent_alone(bench: Bench) -> dict[str, Any]:
    found = _studied(bench, "alone", trials=bench.count(TRIALS, 3))
    spent = found["spent"]
    share = spent["beside"] / (spent["trials"] + spent["beside"])
    return spent | {"count": found["over"], "overhead": 100 * share}


def _clustered(bench: Bench, nodes: int, points: int, kill: bool = False) -> dict[str, Any]:
    """Points of the grid, from the first machine that is asked to the front that is judged."""
    trials = bench.count(points, 3)
    with _cluster(nodes) as cluster:
        watch = _Killing(cluster) if kill else Observer()
        with timed() as spent:
            found = _studied(
                bench, f"nodes-{nodes}", trials=trials, space=GRID, objectives=("size", "drop"),
                sampler="random", advised=False, cluster=cluster.address, observer=watch,
            )  # fmt: skip
    say(
        f"  {nodes} nodes{', one killed' if kill else ''}: {spent.wall:.0f} s, {found['over']} trials"
    )
    recipes = [one["recipe"] for one in found["trials"]]
    return {
        "seconds": spent.wall,
        "trials": found["spent"]["trials"],
        "front": len(found["front"]),
        "lost": trials - found["over"],
        "repeated": len(recipes) - len(set(recipes)),
    }


def _studied(bench: Bench, name: str, **how: Any) -> dict[str, Any]:
    """``study.json`` of a study from its beginning."""
    from netsuke.record import Origin
    from netsuke.study.outcome import read_study
    from netsuke.study.verb import Plan, study
    from netsuke.workload import read_workload

    out = bench.folder("runs") / f"study-{name}"
    shutil.rmtree(out, ignore_errors=True)
    given = read_workload(WORKLOAD)
    plan = Plan(out=out, origin=Origin(workload=str(WORKLOAD)), **how)
    study(given.model, given.task, plan)
    return read_study(out)


@contextmanager
def _cluster(nodes: int) -> Iterator[Any]:
    """A head that works on nothing, and nodes of one core, all on loopback."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    cluster.workers = [cluster.add_node(num_cpus=1) for _ in range(nodes)]
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


class _Killing(Observer):
    """Kills a node when the first trial is over."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster

    def note(self, text: str) -> None:
        if text.startswith("trial 1 of"):
            self._cluster.remove_node(self._cluster.workers[0], allow_graceful=False)
