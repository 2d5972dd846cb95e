"""One job of an agent, in a process of its own: ``python -m netsuke.agent.work FOLDER``.

FOLDER holds job.json, ``{"kind": …, …}``, and perhaps sample.npz; result.json is written beside it, ``{"found": …}``
or ``{"error": …}``. A process of its own starts from the same memory every time, and what it loads is gone when it ends.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from netsuke.agent.parent import end_with_parent
from netsuke.core.artifact import Artifact, check_whole
from netsuke.core.data import stream
from netsuke.core.errors import NetsukeError
from netsuke.core.files import write_json
from netsuke.core.goal import Goal
from netsuke.core.machine import read_rates
from netsuke.core.probe import Probe, Subject
from netsuke.core.registry import named
from netsuke.core.runtime import runtime_named
from netsuke.core.task import Task, ready
from netsuke.devices import device

SPIN = 0.5
"""Seconds of looking at how much of its time a thread gets."""
Job = Mapping[str, Any]


def main(arguments: list[str]) -> int:
    """Exit code 0 where there is a result, though it be an error."""
    end_with_parent()
    folder = Path(arguments[0])
    job = json.loads((folder / "job.json").read_text(encoding="utf8"))
    try:
        write_json(folder / "result.json", {"found": KINDS[job["kind"]](job, folder)})
    except (NetsukeError, OSError, MemoryError) as error:
        write_json(folder / "result.json", {"error": str(error) or type(error).__name__})
    return 0


def facts(job: Job, folder: Path) -> Any:
    """This machine as a Device."""
    return asdict(device("local"))


def probed(job: Job, folder: Path) -> Any:
    """What a probe finds out of an artifact beside another."""
    probe = named(Probe, "netsuke.probes", job["probe"])  # type: ignore[type-abstract]
    subject, baseline = (
        _subject(job[who], Path(job["artifacts"])) for who in ("subject", "baseline")
    )
    goal = _goal(job["seed"])
    sample = _sample(folder)
    return [e.to_dict() for e in probe(**job["settings"]).measure(subject, baseline, sample, goal)]


def turns(job: Job, folder: Path) -> Any:
    """Rounds of CPU seconds of a call of each of some files, on made-up inputs."""
    runtime = runtime_named(job["runtime"])
    return runtime.turns([(Path(job["artifacts"]) / name).read_bytes() for name in job["files"]])


def stretch(job: Job, folder: Path) -> Any:
    """Seconds that pass while one thread computes for one: above 1 where others compute besides, or heat holds it back."""
    start, spent = time.perf_counter(), time.thread_time()
    while time.perf_counter() < start + SPIN:
        pass
    return (time.perf_counter() - start) / (time.thread_time() - spent)


def rates(job: Job, folder: Path) -> Any:
    """What this machine reads of itself."""
    return read_rates()


KINDS: dict[str, Callable[[Job, Path], Any]] = {
    "facts": facts,
    "rates": rates,
    "stretch": stretch,
    "probe": probed,
    "turns": turns,
}


def _subject(told: Mapping[str, Any], folder: Path) -> Subject:
    artifact = Artifact.from_dict(told, folder)
    check_whole(artifact)
    return Subject(
        artifact=artifact, open=functools.partial(runtime_named(artifact.runtime).open, artifact)
    )


def _sample(folder: Path) -> Any:
    """The stream of the one sample that was sent along; None where there is none."""
    path = folder / "sample.npz"
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as kept:
        arrays = tuple(kept[name] for name in sorted(kept.files))
    return stream(arrays, "sample", labelled=False)


def _goal(seed: int) -> Goal:
    """What a probe asks of a goal that has no data."""
    splits = ready(Task(test=(np.zeros(2), np.zeros(2))))
    return Goal(data=splits, device=device("local"), seed=seed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
