"""Getting to know a device: its code is typed here once."""

from __future__ import annotations

import socket

from netsuke.core.errors import NetsukeError
from netsuke.links.book import Entry, check_name, keys_file, write
from netsuke.wire.caller import Caller, UnreachableError
from netsuke.wire.keys import check_public, own_keys
from netsuke.wire.pairing import passage

PORT = 5748
"""Where an agent pairs, unless it is told otherwise."""
PATIENCE = 10.0
"""Seconds that an agent has to answer."""


def pair(name: str, address: str, code: str) -> None:
    """Exchange keys with the agent that shows the code, and keep its own. address: HOST or HOST:PORT.

    Raises NetsukeError where no agent with that code answers there.
    """
    check_name(name)
    host, _, port = address.removeprefix("tcp://").partition(":")
    keys, mine = passage(code), own_keys(keys_file())
    where = f"tcp://{host}:{port or PORT}"
    asked = {"public": mine.public, "name": socket.gethostname()}
    try:
        with Caller(keys.home, keys.agent.public, where, name) as caller:
            told = caller.call("pair", asked, patience=PATIENCE)
    except UnreachableError as error:
        raise NetsukeError(
            f"{name}: no agent at {where} answers to this code; has it run out (netsuke agent --pair shows a new one)?"
        ) from error
    write(
        name, Entry(f"tcp://{host}:{told.whole('port', 65535)}", check_public(told.text("public")))
    )
