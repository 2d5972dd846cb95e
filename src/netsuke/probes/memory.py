"""How much memory it takes to run the artifact, in a process of its own."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import ClassVar

from netsuke.core.artifact import Artifact
from netsuke.core.data import Stream
from netsuke.core.errors import NetsukeError
from netsuke.core.evidence import Evidence
from netsuke.core.goal import Goal
from netsuke.core.probe import Probe, Subject
from netsuke.core.quantity import show

SECONDS = 120


@dataclass(frozen=True)
class Memory(Probe):
    """ "memory": the most resident bytes of a fresh process that loads and runs the artifact, batch
    1, one thread, above what it took when only the runtime's library was loaded.

    The median of so many processes (3); the note has the whole, library included. Raises NetsukeError
    where the artifact does not run in a fresh process.
    """

    name: ClassVar[str] = "memory"
    there: ClassVar[bool] = True

    processes: int = 3

    def measure(
        self, subject: Subject, baseline: Subject, stream: Stream | None, goal: Goal
    ) -> tuple[Evidence, ...]:
        runs = [fresh(subject.artifact) for _ in range(self.processes)]
        above = median(r["peak"] - r["idle"] for r in runs)
        peak = median(r["peak"] for r in runs)
        return (
            Evidence(
                what="memory", value=float(above), unit="B", source="measured", device="local",
                samples=len(runs), note=f"{show(peak, 'B')} in all, the runtime's library included",
            ),
        )  # fmt: skip


def fresh(artifact: Artifact) -> dict[str, int]:
    """Resident bytes of a fresh process that runs the artifact: "idle" before, "peak" at most."""
    with tempfile.TemporaryDirectory() as folder:
        description = Path(folder) / "artifact.json"
        given = {"artifact": artifact.to_dict(), "folder": str(artifact.path.parent.resolve())}
        description.write_text(json.dumps(given), encoding="utf8")
        done = subprocess.run(
            [sys.executable, "-m", "netsuke.agent.child", str(description)],
            capture_output=True, text=True, check=False, timeout=SECONDS,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"it ended with code {done.returncode}"]
        raise NetsukeError(f"{artifact.path}: does not run in a fresh process: {last[0]}")
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found
