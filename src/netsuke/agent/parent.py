"""A process that an agent started ends with the agent, however that ended: nothing is left behind that listens or
measures."""

import os
import threading
import time

LOOK = 0.5
"""Seconds between looks."""


def end_with_parent() -> None:
    """End this process, from a thread of its own, as soon as the one that started it is gone."""
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK)
    os._exit(1)
