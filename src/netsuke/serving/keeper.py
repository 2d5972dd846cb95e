"""Where each part runs, as links and devices change: looked at again and again, and moved where that is worth it.

Which cut is best depends on the rate of the link and on how busy the devices are (Kang et al., 2017, "Neurosurgeon"), and
both change while a network is served.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from netsuke.core.artifact import Artifact
from netsuke.core.closing import Closing
from netsuke.core.errors import NetsukeError
from netsuke.core.observer import Observer
from netsuke.core.partition import Plan, Row, best, costs
from netsuke.core.quantity import show
from netsuke.core.runtime import Runtime
from netsuke.links.remote import Remote
from netsuke.links.served import serving
from netsuke.serving.network import Spread, measured, segmented
from netsuke.serving.placement import Placement, end_parts
from netsuke.serving.view import ANSWER, View
from netsuke.wire.caller import UnreachableError

WORTH = 1.2
"""How many times better another placement must be to move to it."""
SURE = 2
"""Looks in a row that must say so: what passes at once is no reason to move."""


class Keeper(Closing):
    """Serves a network on devices, front to back, and moves its parts while it is called. serving: where it is now.

    Raises NetsukeError where a device does not answer, or none can hold its part, saying what would fit.
    """

    def __init__(
        self, artifact: Artifact, runtime: Runtime, links: Sequence[Remote], how: Spread, watch: Observer
    ) -> None:  # fmt: skip
        # An early answer is made of what crosses, which is to be one tensor then.
        network = segmented(artifact, runtime, 1) if how.exits else segmented(artifact, runtime)
        self._view = View(measured(network, links, how, watch), links, how.routes)
        row = self._view.first()
        self._links, self._watch = {link.name: link for link in links}, watch
        self._objective = how.objective
        self._better = 0
        plan = best(row, how.objective)
        self._place(Placement(network, row, plan, how, self._links, _moves(how.name)))
        self.serving.write()
        self._sweep()

    def close(self) -> None:
        """What it serves stays served, as it is."""
        self._view.forget()

    def look(self) -> bool:
        """Look once, and move what cannot stay or would be clearly better elsewhere. Returns whether it is served still."""
        try:
            if self._wanted:
                self._turn()
        except NetsukeError as error:
            self._watch.note(f"could not look: {error}")
        return self._wanted

    @property
    def _wanted(self) -> bool:
        """Whether nobody ended it."""
        with suppress(NetsukeError):
            return bool(serving(self.serving.name))
        return False

    def _turn(self) -> None:
        seen = self._view.look(self.serving, self._placement.plan)
        if seen.waiting:
            return
        self._sweep()
        if not self._wanted:
            return
        if seen.trouble:
            self._leave(seen.row, seen.trouble)
        else:
            self._say(None)
            self._improve(seen.row)

    def _leave(self, row: Row, trouble: str) -> None:
        """Where it is it cannot stay."""
        try:
            if not row.seats:
                raise NetsukeError("no device is left")
            self._move(row, best(row, self._objective), trouble)
        except NetsukeError as error:
            self._say(f"{trouble}; {error}")

    def _improve(self, row: Row) -> None:
        at = {seat.name: number for number, seat in enumerate(row.seats)}
        names = [told["device"] for told in self.serving.parts]
        shares = [replace(share, seat=at[name]) for share, name in zip(self._placement.plan.shares, names, strict=True)]  # fmt: skip
        now, other = self._score(costs(row, shares)), best(row, self._objective)
        self._better = self._better + 1 if now > WORTH * self._score(other) else 0
        if self._better >= SURE:
            self._move(
                row, other, f"{show(self._score(other), 's')} a request instead of {show(now, 's')}"
            )

    def _move(self, row: Row, plan: Plan, why: str) -> None:
        """Where memory is scarce what was there ends first, and who calls waits a moment."""
        if any(seat.memory is not None for seat in row.seats):
            self._end()
        moves = _moves(self.serving.name)
        self._place(replace(self._placement, row=row, plan=plan, moves=moves))
        if not self._wanted:  # nobody asks for it any more
            self._end()
            return
        self.serving.write()
        self._sweep()
        parts = ", ".join(f"{told['device']} to {told['to']}" for told in self.serving.parts)
        self._watch.note(f"moved: {parts} ({why})")

    def _place(self, placement: Placement) -> None:
        self.serving = placement.served(self._watch)
        self._placement, self._better = placement, 0
        self._view.forget()

    def _sweep(self) -> None:
        """End what is left of where it was before: who calls asks anew for what was under way there."""
        for name, link in self._links.items():
            used = [told["part"] for told in self.serving.parts if told["device"] == name]
            with suppress(UnreachableError):
                end_parts(link, self.serving.name, ANSWER, used)

    def _end(self) -> None:
        for told in self.serving.parts:
            with suppress(UnreachableError):
                self._links[told["device"]].stop(told["part"])

    def _say(self, error: str | None) -> None:
        """Tell who calls why it cannot be called, or that it can again."""
        if error != self.serving.error:
            self.serving = replace(self.serving, error=error)
            self.serving.write()
            self._watch.note(error or "it is served again")

    def _score(self, plan: Plan) -> float:
        return plan.period if self._objective == "throughput" else plan.latency


def _moves(name: str) -> int:
    """One more than where it was served before, so that who calls sees that it moved."""
    try:
        return serving(name).moves + 1
    except NetsukeError:
        return 0
