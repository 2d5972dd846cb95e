"""Bytes that really cross the loopback interface to a port and from it (root; Linux)."""

from __future__ import annotations

import ctypes
import multiprocessing
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

ETH_P_IP, SOL_PACKET, STATISTICS = 0x0800, 263, 6
OUTGOING = 4
"""Of the loopback interface every packet is seen twice: as it goes, and as it comes."""
BUFFER, ROOM = 65_536, 1 << 27
PORTS = 1 << 16


@dataclass(frozen=True)
class Wire:
    """Tables of bytes, TCP and IP headers among them, by port."""

    _to: Any
    _from: Any
    _lost: Any

    def to(self, port: int) -> int:
        return int(self._to[port])

    def from_(self, port: int) -> int:
        return int(self._from[port])

    @property
    def lost(self) -> int:
        """Packets that went by unseen."""
        return int(self._lost.value)


@contextmanager
def counted() -> Iterator[Wire]:
    """All that crosses it within the block. Raises PermissionError where this is not root."""
    tables = [multiprocessing.RawArray(ctypes.c_uint64, PORTS) for _ in range(2)]
    wire = Wire(*tables, multiprocessing.RawValue(ctypes.c_uint64, 0))
    seen = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
    seen.bind(("lo", ETH_P_IP))
    seen.setsockopt(socket.SOL_SOCKET, 33, ROOM)  # SO_RCVBUFFORCE
    counting = multiprocessing.get_context("fork").Process(target=_count, args=(seen, wire), daemon=True)  # fmt: skip
    counting.start()
    try:
        yield wire
    finally:
        counting.kill()
        counting.join()
        seen.close()


def _count(seen: socket.socket, wire: Wire) -> None:
    room = bytearray(BUFFER)
    packets = 0
    while True:
        size, (_, _, kind, _, _) = seen.recvfrom_into(room)
        packets += 1
        if packets % 100 == 0:
            wire._lost.value += struct.unpack("II", seen.getsockopt(SOL_PACKET, STATISTICS, 8))[1]
        if kind == OUTGOING or room[9] != socket.IPPROTO_TCP:
            continue
        length = 4 * (room[0] & 15)
        source, target = struct.unpack_from("!HH", room, length)
        total = struct.unpack_from("!H", room, 2)[0] or size
        wire._from[source] += total
        wire._to[target] += total
