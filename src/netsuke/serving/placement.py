"""Parts on their way to the devices they were planned for."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netsuke.core.cut import Part, Tensor
from netsuke.core.observer import Observer
from netsuke.core.partition import Plan, Row
from netsuke.links.remote import Remote
from netsuke.links.served import Serving
from netsuke.serving.exits import fitted
from netsuke.serving.network import Network, Spread


def parts_of(name: str) -> re.Pattern[str]:
    """What the parts of what is served under this name are called on their devices."""
    return re.compile(re.escape(name) + r"\.\d+-\d+-of-\d+")


def end_parts(link: Remote, name: str, patience: float, but: Collection[str] = ()) -> None:
    """End what a device has of what is served under this name, but for some. Raises UnreachableError where it does not
    answer in time."""
    for part in filter(parts_of(name).fullmatch, link.parts(patience)):
        if part not in but:
            link.stop(part)


def _part_name(name: str, moves: int, place: int, count: int) -> str:
    return f"{name}.{moves}-{place}-of-{count}"


@dataclass(frozen=True)
class Placement:
    """A plan for a row of devices, and what it is carried out with. links: to all devices that may have a part. moves: how
    often it was another plan before."""

    network: Network
    row: Row
    plan: Plan
    how: Spread
    links: Mapping[str, Remote]
    moves: int = 0

    def served(self, watch: Observer) -> Serving:
        """Cut, ship and serve it. Raises NetsukeError where a device does not answer, or cannot hold its part."""
        inner = [self.network.cuts[share.start - 1] for share in self.plan.shares[1:]]
        chosen = [self.links[self.row.seats[share.seat].name] for share in self.plan.shares]
        with tempfile.TemporaryDirectory() as folder:
            parts = self.network.runtime.parts(self.network.artifact, inner, Path(folder))
            return self._chained(parts, chosen, watch)

    def _chained(self, parts: Sequence[Part], links: Sequence[Remote], watch: Observer) -> Serving:
        """From the last to the first, each told where it goes on."""
        onward, states = dict[str, str](), list[dict[str, Any]]()
        for place in reversed(range(len(parts))):
            part, link = parts[place], links[place]
            told = {
                **self._of(part, place, len(parts)), "next": onward or None,
                "guests": [links[place - 1].public] if place else [],
            }  # fmt: skip
            if place == 0 and onward:
                told |= self._beside(part, link, watch)
            state = link.serve(part.artifact, told)
            onward = {
                "name": f"{link.name}: {told['name']}",
                "address": state["address"],
                "public": link.public,
            }
            states.insert(0, {"part": told["name"], **state, **self._planned(place)})
        named = zip(parts[-1].leaves, self.network.answer, strict=True)
        return Serving(
            name=self.how.name, of=self.network.artifact.sha256, inputs=self.network.inputs,
            outputs=tuple(Tensor(name, a.dtype.name, a.shape[1:]) for name, a in named),
            address=onward["address"], public=onward["public"], parts=tuple(states), devices=tuple(self.links), moves=self.moves,
        )  # fmt: skip

    def _of(self, part: Part, place: int, count: int) -> dict[str, Any]:
        of, seat = self.network.artifact.sha256, self.row.seats[self.plan.shares[place].seat]
        return {
            "name": _part_name(self.how.name, self.moves, place + 1, count), "threads": 1,
            "memory": None if seat.memory is None else int(seat.memory),
            "stage": {"of": of, "gives": list(part.gives), "passes": list(part.passes)},
        }  # fmt: skip

    def _beside(self, first: Part, link: Remote, watch: Observer) -> dict[str, Any]:
        """What the first device answers with by itself."""
        beside: dict[str, Any] = {}
        if self.how.offline:
            beside["fallback"] = link.ship(self.network.artifact)
        if self.how.exits is not None:
            made = fitted(self.network.artifact, first, self.network.runtime, self.how.exits)
            watch.note(
                f"{100 * made.share:.0f} % are answered by {link.name} itself, for {100 * made.lost:.2f} pt of them all"
            )
            path = first.artifact.path.with_name("head.npz")
            made.head.save(path)
            beside["head"] = link.put(path.read_bytes())
        return beside

    def _planned(self, place: int) -> dict[str, Any]:
        """Where a part runs, from and to which layer, what it takes, and what goes on from it."""
        share = self.plan.shares[place]
        names = ["the input", *(cut.layer for cut in self.network.cuts), "the output"]
        return {
            "device": self.row.seats[share.seat].name, "from": names[share.start], "to": names[share.end],
            "seconds": self.row.work(share.seat, share.start, share.end), "sends": self.row.crossing[share.end],
        }  # fmt: skip
