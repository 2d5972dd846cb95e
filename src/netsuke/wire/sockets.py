"""Sockets that only those with a known key get through to."""

from __future__ import annotations

from collections.abc import Callable

import zmq
from zmq.utils import z85

from netsuke.wire.keys import Keys
from netsuke.wire.message import MOST_BYTES

QUEUED = 1000
"""Messages that wait at a socket for one peer; who sends more than is answered has to wait."""
SILENT, HANDSHAKE = 3000, 5000
"""Milliseconds until a machine that acknowledges nothing counts as gone, and for a handshake."""

MAIN, PAIRING = "main", "pairing"
"""Domains: which of a context's doors a connection is at."""

ASKED, ZAP = "inproc://zeromq.zap.01", b"1.0"
"""Where ZeroMQ asks who may come in, and the version of how."""
LET_IN, REFUSED = (b"200", b"OK"), (b"400", b"unknown key")

Allowed = Callable[[str, str], bool]
"""(domain, public key): whether who has this key is let in there."""


class Door:
    """Says of each connection to a context's sockets whether its key is known (ZeroMQ authentication protocol, RFC 27/ZAP).

    Register ``door.socket`` with the loop's poller and call ``answer`` when it is readable: no thread, no event loop, and none
    of the logging that pyzmq's Authenticator loads, a megabyte of every process. A key that is not known gets no handshake,
    hence no answer of any kind.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], allowed: Allowed) -> None:
        self.socket, self._allowed = context.socket(zmq.REP), allowed
        self.socket.linger = 0
        self.socket.bind(ASKED)

    def answer(self) -> None:
        """Take a question that is there. ZeroMQ asks it, in this process: who connects chooses its key alone."""
        _, asked, domain, _, _, mechanism, *proofs = self.socket.recv_multipart()
        key = z85.encode(proofs[0]).decode("ascii") if mechanism == b"CURVE" else ""
        said = LET_IN if key and self._allowed(domain.decode("utf8"), key) else REFUSED
        user = key if said is LET_IN else ""
        self.socket.send_multipart([ZAP, asked, *said, user.encode("ascii"), b""])


def listening(
    context: zmq.Context[zmq.Socket[bytes]], keys: Keys, address: str, domain: str = MAIN
) -> tuple[zmq.Socket[bytes], str]:
    """(a socket that others call, where it listens). address: ``tcp://HOST:PORT``, port 0 for a free one.

    Raises zmq.ZMQError where the address is taken. There must be a Door before.
    """
    socket = _made(context, zmq.ROUTER, keys)
    socket.curve_server = True
    socket.zap_domain = domain.encode()
    socket.router_handover = True  # who comes back under its name is the same one
    socket.router_mandatory = True
    socket.bind(address.replace(":0", ":*") if address.endswith(":0") else address)
    return socket, socket.get_string(zmq.LAST_ENDPOINT).rstrip("\0")


def calling(
    context: zmq.Context[zmq.Socket[bytes]], keys: Keys, theirs: str, address: str, news: int
) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
    """(a socket that calls another machine, one that news of its connection comes from). theirs: its public key; nobody else
    can answer. news: which events (zmq.EVENT_…)."""
    socket = _made(context, zmq.DEALER, keys)
    socket.curve_serverkey = theirs.encode()
    socket.reconnect_ivl, socket.reconnect_ivl_max = 20, 1000
    socket.immediate = True  # nothing is queued for a peer that is not there
    monitor = socket.get_monitor_socket(news)  # before there is any news to miss
    socket.connect(address)
    return socket, monitor


def _made(context: zmq.Context[zmq.Socket[bytes]], kind: int, keys: Keys) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    socket.linger = 0
    socket.curve_publickey, socket.curve_secretkey = keys.public.encode(), keys.secret.encode()
    socket.maxmsgsize = MOST_BYTES
    socket.sndhwm = socket.rcvhwm = QUEUED
    socket.handshake_ivl = HANDSHAKE
    # By the system, not by ZMQ's own heartbeats: those wait behind a large frame on a slow link, and end it.
    socket.tcp_keepalive, socket.tcp_keepalive_cnt = 1, SILENT // 1000 - 1
    socket.tcp_keepalive_idle = socket.tcp_keepalive_intvl = 1
    socket.tcp_maxrt = SILENT
    return socket
