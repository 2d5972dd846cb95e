"""A study outlives a trial that wants more memory than there is."""

from collections.abc import Iterator
from contextlib import contextmanager

SPARED = 0.05
"""Share of the memory that is free which stays so, for the rest of the machine."""


@contextmanager
def bounded() -> Iterator[None]:
    """This process may take the memory that is free now, and no more: an allocation beyond it fails, and is
    reported, where else the kernel would kill the process. Where the system knows no such limit, nothing is
    done."""
    import psutil

    try:
        import resource
    except ImportError:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    held = psutil.Process().memory_info()
    free = (1 - SPARED) * psutil.virtual_memory().available
    wanted = int(getattr(held, "data", held.vms) + free)
    hard = before[1]
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
