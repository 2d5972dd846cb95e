"""Loads and runs one artifact in a fresh process, and says what memory that took.

    python -m netsuke.agent.child ARTIFACT.json

ARTIFACT.json is ``{"artifact": Artifact.to_dict(), "folder": "where its file is"}``. Prints one line
of JSON: ``{"idle": bytes, "peak": bytes}``, the resident memory once the runtime's library is loaded,
and the most there ever was while the artifact was opened and run.
"""

import json
import sys
from pathlib import Path

import psutil

from netsuke.core.artifact import Artifact
from netsuke.core.errors import NetsukeError
from netsuke.core.feed import example
from netsuke.core.runtime import runtime_named

CALLS = 3


def main(arguments: list[str]) -> int:
    """Exit code 0 with the figures on stdout, 2 with one line on stderr."""
    try:
        if len(arguments) != 1:
            raise NetsukeError("usage: python -m netsuke.agent.child ARTIFACT.json")
        print(json.dumps(run(_artifact(Path(arguments[0])))))
    except NetsukeError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def run(artifact: Artifact) -> dict[str, int]:
    """Open the artifact and call it a few times, one thread; resident memory before and at most."""
    runtime = runtime_named(artifact.runtime)
    inputs = example(artifact)
    _forget_peak()
    idle = psutil.Process().memory_info().rss
    session = runtime.open(artifact, 1)
    for _ in range(CALLS):
        session.run(inputs)
    return {"idle": idle, "peak": max(_peak(), idle)}


def _artifact(path: Path) -> Artifact:
    try:
        data = json.loads(path.read_text(encoding="utf8"))
        return Artifact.from_dict(data["artifact"], Path(data["folder"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NetsukeError(f"{path}: not an artifact's description: {error!r}") from error


def _forget_peak() -> None:
    """Start the peak anew, where the system can (Linux): loading libraries takes more for a moment."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _peak() -> int:
    """The most resident memory so far, in bytes."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return _peak_elsewhere()
    line = next(row for row in status.splitlines() if row.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _peak_elsewhere() -> int:
    info = psutil.Process().memory_info()
    if hasattr(info, "peak_wset"):  # Windows
        return int(info.peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS counts bytes


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
