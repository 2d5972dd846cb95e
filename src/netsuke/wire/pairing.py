"""Getting to know each other once: a code, read off one machine and typed at the other, is the key of both for a
minute, and under it they tell each other their own keys.

The code has 100 random bits and is stretched (scrypt, RFC 7914), so that who records the exchange cannot find it by
trying. Both of the pairs it gives are known to whoever has the code and to nobody else; it is used once.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

import zmq
from zmq.utils import z85

from netsuke.core.errors import NetsukeError
from netsuke.wire.keys import Keys

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no letter looks like a digit."""
GROUPS, GROUP = 5, 4
SECONDS = 600
"""For which a code is good."""
ALIKE = str.maketrans("OIL", "011")


@dataclass(frozen=True)
class Passage:
    """The keys of both sides for one exchange: agent answers, home calls."""

    agent: Keys
    home: Keys


def new_code() -> str:
    """Such as ``K7QF-2M4X-9TBC-WZ01-6HJN``."""
    groups = ("".join(secrets.choice(ALPHABET) for _ in range(GROUP)) for _ in range(GROUPS))
    return "-".join(groups)


def passage(code: str) -> Passage:
    """The keys that a code gives. Raises NetsukeError where it can be none."""
    plain = code.upper().translate(ALIKE).replace("-", "").replace(" ", "")
    if len(plain) != GROUPS * GROUP or not set(plain) <= set(ALPHABET):
        raise NetsukeError(
            f"{code[:40]!r} is no pairing code: {GROUPS} groups of {GROUP} letters and digits, as the agent shows it"
        )
    return Passage(*(_keys(plain, who) for who in ("agent", "home")))


def _keys(code: str, who: str) -> Keys:
    salt = f"netsuke pairing {who}".encode()
    seed = hashlib.scrypt(code.encode(), salt=salt, n=1 << 14, r=8, p=1, dklen=32)
    secret = z85.encode(seed)
    return Keys(zmq.curve_public(secret).decode(), secret.decode())
