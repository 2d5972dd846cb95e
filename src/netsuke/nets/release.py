"""Free memory given back to the system."""

import ctypes
import sys


def release() -> None:
    """Return freed memory that the C library keeps for later (glibc; elsewhere nothing is done).

    Working layer by layer on large matrices leaves the heap full of holes.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
