"""Flower's SuperLink and SuperNode as they run here: guarded, silent to the outside, and quick to look again.

``python -m netsuke.federation.flower link|node …``, with the arguments of flower-superlink and flower-supernode.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from netsuke.agent.parent import end_with_parent
from netsuke.core.errors import NetsukeError
from netsuke.federation.asgi import App
from netsuke.federation.clock import check_clock
from netsuke.federation.guard import Guard, secret
from netsuke.federation.patient import Patient

SILENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}
"""Environment variables without which Flower calls home."""
WAIT = 0.1
"""Seconds between two looks for what is new, and before what is not yet there is asked for again."""
BRIEF = 0.03
"""Where it is a look at something in the same process."""
NEVER = 2
"""How a process ends that would end so again."""


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

    _guard(served, Patient)
    flower_superlink()


def _node() -> None:
    from flwr.supernode import main as served
    from flwr.supernode import start_client_internal as loop
    from flwr.supernode.cli import flower_supernode

    given = dict(zip(sys.argv, sys.argv[1:], strict=False))
    check_clock(given["--superlink"], Path(given["--root-certificates"]))
    _guard(served, lambda app: app)
    vars(loop)["time"] = SimpleNamespace(
        **{**vars(time), "sleep": lambda seconds: time.sleep(BRIEF if seconds < 1.0 else WAIT)}
    )
    flower_supernode()


def _guard(served: Any, within: Callable[[App], App]) -> None:
    """Have the application that a module of Flower's makes guarded. within: what else lies before it."""
    plain = served.create_app

    def create_app(*given: Any, **named: Any) -> Guard:
        return Guard(within(plain(*given, **named)), secret())

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
