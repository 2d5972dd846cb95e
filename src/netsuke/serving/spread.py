"""Cut, shipped, served front to back; and ended."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netsuke.core.artifact import Artifact
from netsuke.core.cut import Part, Tensor
from netsuke.core.observer import Observer
from netsuke.core.partition import Plan, Row, best
from netsuke.core.runtime import Runtime
from netsuke.links.remote import Remote
from netsuke.links.served import Serving
from netsuke.serving.exits import fitted
from netsuke.serving.network import Network, Spread, measured, segmented


def serve(
    artifact: Artifact,
    runtime: Runtime,
    devices: Sequence[str],
    how: Spread,
    observer: Observer | None = None,
) -> Serving:
    """Cut the artifact, ship the parts, and serve them on these paired devices, of which the first is called.

    Raises NetsukeError where a device does not answer, or none can hold its part, saying what would fit.
    """
    watch = observer or Observer()
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        links = [stack.enter_context(Remote(name, runtime)) for name in devices]
        # An early answer is made of what crosses, which is to be one tensor then.
        network = segmented(artifact, runtime, 1) if how.exits else segmented(artifact, runtime)
        row = measured(network, links, how, watch)
        plan = best(row, how.objective)
        inner = [network.cuts[share.start - 1] for share in plan.shares[1:]]
        parts = runtime.parts(artifact, inner, Path(folder))
        chosen = [links[share.seat] for share in plan.shares]
        found = _Shipping(network, row, plan, how, Path(folder)).served(parts, chosen, watch)
    found.write()
    return found


@dataclass(frozen=True)
class _Shipping:
    """Parts on their way to where they were planned."""

    network: Network
    row: Row
    plan: Plan
    how: Spread
    folder: Path

    def served(self, parts: Sequence[Part], links: Sequence[Remote], watch: Observer) -> Serving:
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
            address=onward["address"], public=onward["public"], parts=tuple(states),
        )  # fmt: skip

    def _of(self, part: Part, place: int, count: int) -> dict[str, Any]:
        of = self.network.artifact.sha256
        return {
            "name": f"{self.how.name}-{place + 1}-of-{count}", "threads": 1,
            "memory": self.how.limit(self.plan.shares[place].seat),
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
            path = self.folder / "head.npz"
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


def stop(serving: Serving, runtime: Runtime) -> None:
    """Serve it no longer. Raises NetsukeError where a device does not answer."""
    for told in serving.parts:
        with Remote(told["device"], runtime) as link:
            link.stop(told["part"])
    serving.forget()
