"""How devices and the ways between them are now, while they serve: what was measured once, scaled by what is seen."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from netsuke.core.errors import NetsukeError
from netsuke.core.partition import Plan, Route, Row, Seat, Share
from netsuke.links.remote import Remote, failed
from netsuke.links.served import Serving
from netsuke.serving.placement import parts_of
from netsuke.wire.caller import Caller, UnreachableError

AWAY = 6.0
"""Seconds that a device may be away, for its agent to be begun anew, until it counts as gone."""
ANSWER = 2.0
"""Seconds that a device has to say how its parts are."""
FEW = 4
"""Calls between two looks that tell nothing of how fast a device is."""
AGAIN = 30.0
"""Seconds until a device without a part is looked at anew."""
APART = 20.0
"""To look at a way loads it: the next look comes when so many times as long has passed."""
LAST = Route(bandwidth=float("inf"))
"""What lies behind the last device."""
NONE = Route(bandwidth=1.0, delay=60.0)
"""Between devices that do not reach each other."""


@dataclass(frozen=True)
class Seen:
    """row: of the devices that are there. trouble: why the parts cannot stay where they are; empty where they can.
    waiting: whether a device in use is away, and may come back."""

    row: Row
    trouble: str = ""
    waiting: bool = False


@dataclass
class _Device:
    """What was seen of one. slower: seconds that pass now while its processor computes for one. timed: when that was
    seen. away: since when it does not answer. unfit: why nothing more is given to it; empty where it can be."""

    link: Remote
    slower: float = 1.0
    timed: float = float("-inf")
    away: float | None = None
    unfit: str = ""
    parts: Mapping[str, Mapping[str, Any]] | None = None

    def ask(self) -> None:
        """How its parts are, or since when it does not say."""
        try:
            self.parts, self.away = self.link.parts(ANSWER), None
        except UnreachableError:
            self.parts, self.away = None, self.away or time.monotonic()

    def judge(self, ours: re.Pattern[str]) -> None:
        """Whether one of our parts turned out not to run here."""
        for name, state in (self.parts or {}).items():
            if ours.fullmatch(name) and (why := failed(name, state)):
                self.unfit = f"{self.link.name}: {why}"

    @property
    def there(self) -> bool:
        return self.away is None and not self.unfit

    @property
    def gone(self) -> bool:
        return self.away is not None and time.monotonic() - self.away > AWAY


class View:
    """Looks at a row of devices. row: what was measured on them, in seconds of their processors. routes: what is
    between them, where that was told; None has it measured at every look."""

    def __init__(self, row: Row, links: Sequence[Remote], routes: Sequence[Route] | None) -> None:
        self._row, self._routes = row, routes
        self._devices = {link.name: _Device(link) for link in links}
        self._loads: dict[str, _Load] = {}
        self._ways: dict[tuple[str, str], tuple[Route, float]] = {}

    def look(self, serving: Serving, plan: Plan) -> Seen:
        """What there is now. serving, plan: where the parts are."""
        for device in self._devices.values():
            device.ask()
            device.judge(parts_of(serving.name))
        used = [self._devices[part["device"]] for part in serving.parts]
        if any(device.away is not None and not device.gone for device in used):
            return Seen(self._row, waiting=True)
        trouble = self._trouble(serving)
        rates = {
            told["device"]: self._weighed(told, share)
            for told, share in zip(serving.parts, plan.shares, strict=True)
        }
        for name in self._devices.keys() - rates.keys():
            self._stretched(name)
        return Seen(self._now(rates), trouble)

    def first(self) -> Row:
        """What there is before anything is served."""
        for name in self._devices:
            self._stretched(name)
        return self._now({})

    def forget(self) -> None:
        """The parts are others now."""
        for load in self._loads.values():
            load.caller.close()
        self._loads.clear()

    def _trouble(self, serving: Serving) -> str:
        """The first thing that is wrong."""
        for told in serving.parts:
            device = self._devices[told["device"]]
            if device.parts is None:
                return f"{told['device']} is gone"
            if device.unfit:
                return device.unfit
            if told["part"] not in device.parts:
                return f"{told['device']} does not serve {told['part']} any more"
        return ""

    def _weighed(self, told: Mapping[str, Any], share: Share) -> float:
        """Bytes a second that a part sends on; by what its calls take, how slow its device is now."""
        device = self._devices[told["device"]]
        if device.parts is None:
            return 0.0
        if told["part"] not in self._loads:
            self._loads[told["part"]] = _Load(device.link.calling(told["address"]))
        calls, each, rate = self._loads[told["part"]].since()
        at_first = sum(self._seat(told["device"]).seconds[share.start : share.end])
        if calls >= FEW and at_first:
            device.slower, device.timed = each / at_first, time.monotonic()
        return rate * float(told["sends"])

    def _stretched(self, name: str) -> None:
        """How slow a device without a part is now; not at every look."""
        device = self._devices[name]
        if device.there and time.monotonic() - device.timed > AGAIN:
            device.slower, device.timed = device.link.stretch(), time.monotonic()

    def _seat(self, name: str) -> Seat:
        """As it was measured at first."""
        return next(seat for seat in self._row.seats if seat.name == name)

    def _now(self, rates: Mapping[str, float]) -> Row:
        """Of the devices that are there."""
        there = [n for n, seat in enumerate(self._row.seats) if self._devices[seat.name].there]
        ways = [self._way(first, second, rates) for first, second in pairwise(there)]
        seats = []
        for number, route in zip(there, (*ways, LAST), strict=False):
            seat = self._row.seats[number]
            slower = self._devices[seat.name].slower
            seconds = tuple(slower * each for each in seat.seconds)
            seats.append(replace(seat, seconds=seconds, route=route))
        return replace(self._row, seats=tuple(seats))

    def _way(self, first: int, second: int, rates: Mapping[str, float]) -> Route:
        """Between two devices that follow each other now."""
        if self._routes is not None:
            told = self._routes[first:second]
            return Route(bandwidth=min(r.bandwidth for r in told), delay=sum(r.delay for r in told))
        here, there = (self._devices[self._row.seats[n].name].link for n in (first, second))
        start = time.monotonic()
        known, until = self._ways.get((here.name, there.name), (NONE, start))
        if start < until:
            return known
        try:
            found = here.route(there)
        except NetsukeError:
            return NONE
        # What the network itself sends took its share of the link.
        found = replace(found, bandwidth=found.bandwidth + rates.get(here.name, 0.0))
        now = time.monotonic()
        self._ways[here.name, there.name] = found, now + APART * (now - start)
        return found


class _Load:
    """What a part says of its calls, look by look."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self._calls, self._seconds, self._at = 0, 0.0, time.monotonic()

    def since(self) -> tuple[int, float, float]:
        """(calls since the last look, seconds of each, calls a second)."""
        try:
            told = self.caller.call("load", patience=ANSWER).head
        except NetsukeError:
            return 0, 0.0, 0.0
        now = time.monotonic()
        calls, seconds, spent = (
            int(told["calls"]) - self._calls,
            float(told["seconds"]) - self._seconds,
            now - self._at,
        )
        self._calls, self._seconds, self._at = int(told["calls"]), float(told["seconds"]), now
        return calls, seconds / max(calls, 1), calls / max(spent, 1e-6)
