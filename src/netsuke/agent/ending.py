"""How an agent ends a process that it started."""

import subprocess


def end(process: subprocess.Popen[bytes], patience: float) -> None:
    """End a process, by force where it has not ended in so many seconds."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
