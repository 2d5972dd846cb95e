"""A link with a rate and a delay between two network namespaces of this machine (root; Linux).

Each end is a TUN device; what goes in at one comes out at the other when a link of that rate would have sent it all, and
its delay is over. All that runs in a namespace uses it as it would any network.
"""

from __future__ import annotations

import ctypes
import fcntl
import multiprocessing
import os
import select
import struct
import subprocess
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NEWNET = 0x40000000
SETIFF, TUN = 0x400454CA, 0x1001
"""TUNSETIFF; IFF_TUN | IFF_NO_PI."""
MTU, WAITING = 1500, 1000
"""Bytes of a packet, and packets that wait at an end; more are dropped, as netem's are."""
HOSTS = ("10.231.77.1", "10.231.77.2")


class Link:
    """Between two namespaces. names: theirs. hosts: their addresses."""

    def __init__(self, names: tuple[str, str], rate: Any, delay: Any) -> None:
        self.names, self.hosts = names, HOSTS
        self._rate, self._delay = rate, delay

    def set(self, rate: float, delay: float) -> None:
        """rate: bits a second. delay: seconds one way."""
        self._rate.value, self._delay.value = rate / 8, delay


@contextmanager
def shaped() -> Iterator[Link]:
    """As fast as it can be, until it is set."""
    names = (f"netsuke-{os.getpid()}-a", f"netsuke-{os.getpid()}-b")
    rate, delay = multiprocessing.Value("d", 1.25e9), multiprocessing.Value("d", 0.0)
    for name in names:
        _ip("netns", "add", name)
    try:
        ends = [_end(name, here, there) for name, here, there in zip(names, HOSTS, HOSTS[::-1], strict=True)]  # fmt: skip
        pump = multiprocessing.get_context("fork").Process(target=_pump, args=(ends, rate, delay), daemon=True)  # fmt: skip
        pump.start()
        try:
            yield Link(names, rate, delay)
        finally:
            pump.kill()
            pump.join()
            for end in ends:
                os.close(end)
    finally:
        for name in names:
            _ip("netns", "del", name)


@contextmanager
def within(name: str) -> Iterator[None]:
    """This thread, and what it starts, in a namespace."""
    with Path("/proc/thread-self/ns/net").open("rb") as before:
        with Path(f"/run/netns/{name}").open("rb") as there:
            _enter(there.fileno())
        try:
            yield
        finally:
            _enter(before.fileno())


def _enter(handle: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(handle, NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _end(name: str, here: str, there: str) -> int:
    """A TUN device in a namespace; what is sent there is read from what comes back."""
    with within(name):
        end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(end, SETIFF, struct.pack("16sH22s", b"shaped", TUN, b""))
        _ip("link", "set", "lo", "up")
        _ip("addr", "add", here, "peer", there, "dev", "shaped")
        _ip("link", "set", "shaped", "mtu", str(MTU), "txqueuelen", str(WAITING), "up")
    return end


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def _pump(ends: list[int], rate: Any, delay: Any) -> None:
    """From each end to the other, until it is ended."""
    ways = [deque[tuple[float, bytes]](), deque[tuple[float, bytes]]()]
    free = [0.0, 0.0]
    while True:
        due = min((way[0][0] for way in ways if way), default=None)
        wait = None if due is None else max(0.0, due - time.monotonic())
        ready, _, _ = select.select(ends, [], [], wait)
        now = time.monotonic()
        for side in (0, 1):
            if ends[side] in ready:
                packet = os.read(ends[side], MTU + 100)
                if len(ways[side]) < WAITING:
                    free[side] = max(now, free[side]) + len(packet) / rate.value
                    ways[side].append((free[side] + delay.value, packet))
            while ways[side] and ways[side][0][0] <= now:
                os.write(ends[1 - side], ways[side].popleft()[1])
