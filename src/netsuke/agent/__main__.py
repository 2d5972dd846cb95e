"""``python -m netsuke.agent``, what ``netsuke agent`` becomes: a process that has loaded nothing else.

One argument, in JSON: ``{"host": …, "port": …, "state": folder, "pair": bool, "federate": path or "", "secure": bool}``.
"""

import json
import signal
import sys
from pathlib import Path

from netsuke.agent.federated import Own
from netsuke.agent.server import Agent, Place
from netsuke.agent.state import State
from netsuke.core.errors import NetsukeError


def main(arguments: list[str]) -> int:
    """Runs until it is told to end (SIGTERM, Ctrl-C)."""
    told = json.loads(arguments[0])
    state = State(Path(told["state"]))
    try:
        own = (
            Own(Path(told["federate"]), told.get("secure", False)) if told.get("federate") else None
        )
        agent = Agent(state, Place(host=told["host"], port=told["port"]), _say, own)
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: agent.end())
        _say(f"netsuke agent at {_shown(agent.address)}, state in {state.folder}")
        if told["pair"] or not list(state.known):
            code = agent.pair()
            where = _shown(agent.pairing_address or "")
            _say(f"on the other machine, within ten minutes: netsuke pair NAME {where} {code}")
        agent.loop()
    except NetsukeError as error:
        print(f"netsuke: {error}", file=sys.stderr)
        return 2
    return 0


def _say(text: str) -> None:
    print(f"  {text}", flush=True)


def _shown(address: str) -> str:
    return address.removeprefix("tcp://")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
