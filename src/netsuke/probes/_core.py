"""One processor core to measure on, and what else happened on it meanwhile."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

SPIN_SECONDS = 5e-4


@contextmanager
def pinned() -> Iterator[None]:
    """Keep this thread on the idlest of its cores for a while; does nothing where the system cannot."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    usable = os.sched_getaffinity(0)
    load = psutil.cpu_percent(interval=0.1, percpu=True)
    best = min(usable, key=lambda core: load[core] if core < len(load) else 100.0)
    os.sched_setaffinity(0, {best})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usable)


def speed() -> float:
    """Turns per second of CPU time of a loop that only looks at the clock: how fast the core is now.

    It falls when the other half of a core that two threads share is at work, and when the clock
    rate does.
    """
    turns, cpu = 0, time.thread_time_ns()
    end = time.perf_counter_ns() + int(SPIN_SECONDS * 1e9)
    while time.perf_counter_ns() < end:
        turns += 1
    return turns / max(time.thread_time_ns() - cpu, 1) * 1e9


def switches() -> int | None:
    """How often this thread was sent off its core so far; None where the system does not count."""
    try:
        import resource

        return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw
    except (ImportError, AttributeError):
        return None
