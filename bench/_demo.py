"""``make demo`` as a newcomer runs it."""

import json
import subprocess
from pathlib import Path
from typing import Any

from bench._harness import say, timed


def demo(root: Path) -> tuple[float | None, dict[str, Any] | None, str]:
    """(wall seconds, its run's record, its run's folder), or (None, None, why there is none).

    The install comes first and does not count; what an earlier demo left in the cache is removed.
    """
    installed = subprocess.run(
        ["make", "install"], cwd=root, capture_output=True, text=True, check=False
    )
    if installed.returncode:
        return None, None, f"make install failed: {_last(installed)}"
    for left in (root / "examples" / ".cache").glob("digits*"):
        left.unlink()
    before = set(root.glob("runs/*"))
    with timed() as spent:
        done = subprocess.run(
            ["make", "demo"], cwd=root, capture_output=True, text=True, check=False
        )
    say(done.stdout.rstrip())
    made = [path for path in root.glob("runs/*/report.json") if path.parent not in before]
    if done.returncode or len(made) != 1:
        return (
            None,
            None,
            f"make demo exited {done.returncode} with {len(made)} runs: {_last(done)}",
        )
    return spent.wall, json.loads(made[0].read_text("utf8")), made[0].parent.name


def _last(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr + done.stdout).strip().splitlines()
    return lines[-1] if lines else "no message"
