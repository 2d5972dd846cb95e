"""Flower's SuperLink and SuperNode as they run here: guarded, silent to the outside, and quick to look again.

``python -m netsuke.federation.flower link|node …``, with the arguments of flower-superlink and flower-supernode.
"""

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from netsuke.agent.parent import end_with_parent
from netsuke.core.errors import NetsukeError
from netsuke.federation.clock import check_clock
from netsuke.federation.guard import Guard, secret

SILENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}
"""Environment variables without which Flower calls home."""
WAIT = 0.1
"""Seconds between two looks for what is new, and before what is not yet there is asked for again."""
NEVER = 2
"""How a process ends that would end so again."""
MORE = 0.5
"""Of the time that a client waited for work so far, what it waits until it looks again."""


def main() -> None:
    which = sys.argv.pop(1)
    os.environ.update(SILENT)
    end_with_parent()
    impatient()
    try:
        {"link": _link, "node": _node}[which]()
    except NetsukeError as error:
        print(error, flush=True)
        sys.exit(NEVER)


def _link() -> None:
    from flwr.superlink import main as served
    from flwr.superlink.cli import flower_superlink

    _guard(served)
    flower_superlink()


def _node() -> None:
    from flwr.supernode import main as served
    from flwr.supernode import start_client_internal as loop
    from flwr.supernode.cli import flower_supernode

    given = dict(zip(sys.argv, sys.argv[1:], strict=False))
    check_clock(given["--superlink"], Path(given["--root-certificates"]))
    _guard(served)
    vars(loop)["time"] = SimpleNamespace(**{**vars(time), "sleep": Waiting().sleep})
    flower_supernode()


class Waiting:
    """How long a SuperNode sleeps: Flower's sleeps half a second until a reply is there, three between two looks for work at
    its server. The first costs nothing; each look takes bytes of the way, so that they come ever less often."""

    def __init__(self) -> None:
        self._idle = 0.0

    def sleep(self, seconds: float) -> None:
        if seconds < 1.0:
            self._idle = 0.0
            time.sleep(min(seconds, WAIT))
            return
        pause = min(seconds, max(WAIT, MORE * self._idle))
        self._idle += pause
        time.sleep(pause)


def _guard(served: Any) -> None:
    """Have the application that a module of Flower's makes guarded."""
    plain = served.create_app

    def create_app(*given: Any, **named: Any) -> Guard:
        return Guard(plain(*given, **named), secret())

    served.create_app = create_app


def impatient() -> None:
    """Flower waits a second before it asks again for an object that is still under way."""
    from flwr.supercore.inflatable import inflatable_utils as objects

    for pulling in (objects.pull_objects, objects.pull_and_inflate_object_from_tree):
        defaults = pulling.__kwdefaults__
        assert defaults is not None
        defaults["initial_backoff"] = WAIT


if __name__ == "__main__":
    main()
