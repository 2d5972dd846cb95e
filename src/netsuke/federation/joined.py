"""A client of a federation whose server is another machine: ``python -m netsuke.federation.joined FOLDER``.

FOLDER holds told.json, ``{"address": …, "authority": PEM, "name": …, "workload": path, "secure": bool}``. It prints a line of JSON: its public key,
by which the server is to know it, or why it cannot take part.
"""

import json
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from netsuke.agent.parent import end_with_parent
from netsuke.core.errors import NetsukeError
from netsuke.federation.crew import LOOPBACK, crew
from netsuke.federation.hall import Link
from netsuke.federation.job import Job
from netsuke.federation.keys import admit, made
from netsuke.workload import read_workload

LOOK = 0.5
"""Seconds between looks at whether its processes run."""


def main() -> int:
    end_with_parent()
    signal.signal(signal.SIGTERM, _ended)
    folder = Path(sys.argv[1])
    try:
        _take_part(folder, json.loads((folder / "told.json").read_text(encoding="utf8")))
    except NetsukeError as error:
        _say(error=str(error))
    return 0


def _take_part(folder: Path, told: dict[str, Any]) -> None:
    """Until it is ended, or a process of it cannot go on."""
    read_workload(Path(told["workload"]))  # what is wrong with it is said at once
    keys = made(folder / "keys", (LOOPBACK,))
    link = Link(told["address"], told["authority"].encode("ascii"))
    job = Job(workload=told["workload"], name=told["name"], secure=told["secure"])
    public = admit(keys, job.name).with_suffix(".pub")
    _say(public=public.read_text(encoding="ascii"))
    with crew(folder / "machines", keys, lambda line: print(line, file=sys.stderr)) as team:
        team.join(link, job, {job.name: 1})
        while True:
            team.check()
            time.sleep(LOOK)


def _say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def _ended(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
