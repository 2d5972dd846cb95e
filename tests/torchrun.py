"""Two processes of a command, as people start them."""

import os
import subprocess
import sys
from pathlib import Path


def torchrun(*command: str) -> subprocess.CompletedProcess[str]:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*start, *command],
        env={
            **os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(__file__).parent),
        },
        capture_output=True, text=True, check=False, timeout=250,
    )  # fmt: skip


def threads_of_gloo() -> int:
    """That this process still has: one may abort it as it exits."""
    names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    return sum("gloo" in name for name in names)
