"""How much memory a process has resident."""

import os
from pathlib import Path


def resident(process: int) -> int:
    """Bytes. Raises ProcessLookupError where there is no such process.

    By Linux's own count where there is one: psutil would take a megabyte of each process that asks.
    """
    try:
        pages = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]
    except FileNotFoundError:
        if Path("/proc/self/statm").exists():
            raise ProcessLookupError(process) from None
        return _elsewhere(process)
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _elsewhere(process: int) -> int:
    import psutil

    try:
        found: int = psutil.Process(process).memory_info().rss
    except psutil.NoSuchProcess:
        raise ProcessLookupError(process) from None
    return found
