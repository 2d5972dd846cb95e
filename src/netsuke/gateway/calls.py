"""Calls of many threads over one connection: a thread of its own holds the sockets, callers wait for theirs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future

import zmq

from netsuke.core.data import Array
from netsuke.core.errors import NetsukeError
from netsuke.links.served import Served, Serving

Answer = tuple[Array, ...]


class Calls:
    """May be used by any thread."""

    def __init__(self, what: Serving) -> None:
        self._served = Served(what)
        self._context = zmq.Context[zmq.Socket[bytes]]()
        self._bell = self._context.socket(zmq.PAIR)
        self._rung = self._context.socket(zmq.PAIR)
        self._bell.bind("inproc://bell")
        self._rung.connect("inproc://bell")
        self._asked: deque[tuple[Sequence[Array], float, Future[Answer]]] = deque()
        self._lock, self._on = threading.Lock(), True
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def run(self, inputs: Sequence[Array], patience: float) -> Answer:
        """One call. Raises NetsukeError for what went wrong, by the part it went wrong in."""
        future: Future[Answer] = Future()
        with self._lock:
            self._asked.append((inputs, patience, future))
            self._bell.send(b"")
        return future.result(patience + 5)

    def close(self) -> None:
        with self._lock:
            self._on = False
            self._bell.send(b"")
        self._thread.join()
        self._served.close()
        self._context.destroy(linger=0)

    def _loop(self) -> None:
        under_way: dict[str, Future[Answer]] = {}
        while self._on or under_way:
            self._served.turn(self._rung)
            while self._rung.poll(0):
                self._rung.recv()
            while self._asked and not self._served.full:
                inputs, patience, future = self._asked.popleft()
                try:
                    under_way[self._served.send(inputs, patience)] = future
                except NetsukeError as error:
                    future.set_exception(error)
            for name in [name for name in under_way if self._served.answered(name)]:
                self._settle(under_way.pop(name), name)

    def _settle(self, future: Future[Answer], name: str) -> None:
        try:
            future.set_result(self._served.take(name))
        except NetsukeError as error:
            future.set_exception(error)
