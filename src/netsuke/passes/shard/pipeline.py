"""Places to cut a network for several devices, and what crosses them made small."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from torch.fx import GraphModule

from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.layer import Layer
from netsuke.core.model import Model, Step
from netsuke.core.partition import Route, Row, Seat, best
from netsuke.core.passes import Pass, Range
from netsuke.core.quantity import show
from netsuke.core.registry import nearest
from netsuke.core.roofline import layer_seconds, warm
from netsuke.nets.costs import layers
from netsuke.nets.crossing import PACKED, coded, narrowed
from netsuke.nets.cuts import Cut, cuts
from netsuke.nets.graph import clone
from netsuke.nets.quantizers.calibrate import calibrate
from netsuke.nets.quantizers.place import is_quantized
from netsuke.nets.samples import Calibration
from netsuke.passes.prune.retraining import RetrainedPass

Crossing = Literal["int8", "int4", "float"]
BITS: dict[Crossing, int] = {"int8": 8, "int4": PACKED, "float": 32}
LONGER: dict[Crossing, Crossing] = {"int4": "int8", "int8": "float"}
SAMPLES = 500
"""Calibration samples that ranges and components are found on."""


@dataclass(frozen=True, kw_only=True)
class Pipeline(RetrainedPass):
    """Make the places where the network is to be cut in parts cheap to cross.

    parts: over how many devices, as fast as each other, that work at a time (Narayanan et al., 2019, "PipeDream"); the
    places are the best of all by the layers' seconds and what crosses (``core/partition.py``), or those behind the named
    layers, as for a slow device before a fast one. rate: of the links between them, bits a second. crossing: "int8"
    sends a byte a value, "int4" half of one, "float" leaves them. narrow: the share of the channels that cross, as their
    first principal components, 1 for all. epochs, lr and so on: retraining with the original as teacher, through the
    quantizers (Jacob et al., 2018), where channels were left out or values have four bits.
    ``netsuke serve`` cuts the model that comes out.
    """

    name: ClassVar[str] = "shard.pipeline"
    elsewhere: ClassVar[str] = "less crosses between its parts"
    parts: Annotated[int, Range(2, 16)] = 2
    rate: Annotated[float, Range(1e3, 1e12)] = 1e8
    crossing: Crossing = "int8"
    narrow: Annotated[float, Range(0.01, 1)] = 1.0
    behind: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.behind and len(set(self.behind)) != self.parts - 1:
            raise NetsukeError(
                f"{self.name}: behind names {len(set(self.behind))} places and parts = {self.parts} has {self.parts - 1} cuts"
            )

    def refuse(self, model: Model, goal: Goal) -> str | None:
        """Where nothing would change, or there are too few places."""
        if is_quantized(model.network):
            return (
                "its values are integers already and cross as such; netsuke serve cuts it as it is"
            )
        if self.crossing == "float" and self.narrow == 1:
            return "floats cross any cut as they are; netsuke serve cuts it as it is"
        found = self._places(model)
        if len(found) < self.parts - 1:
            return f"parts = {self.parts}: it can be cut in {len(found)} places that a single tensor crosses"
        return None

    def apply(self, model: Model, goal: Goal) -> Model:
        """The model with what crosses its cuts narrowed and coded. Raises NetsukeError where ``behind`` names what it cannot
        be cut behind."""
        chosen = self._chosen(model, goal)
        network, notes, samples = model.network, list[str](), Calibration(model, goal, SAMPLES)
        ends = {cut.node: cut.node for cut in chosen}
        for cut in chosen if self.narrow < 1 else ():
            kept = self._kept(cut)
            network, ends[cut.node], held = narrowed(network, cut, kept, samples)
            notes.append(
                f"{cut.layer}: {kept} of {cut.shape[_axis(cut)]} channels cross, {100 * held:.1f} % of the variance"
            )
        found = {ends[cut.node]: _axis(cut) for cut in chosen}
        network, training = self._finished(network, model, goal, found, samples)
        said = ", ".join(cut.layer for cut in chosen)
        step = Step(
            name=self.name, settings=self.settings(),
            summary=f"{self.parts} parts, cut behind {said}: {self._told(chosen)} a sample cross",
            notes=(*notes, *training),
        )  # fmt: skip
        return model.then(network, step)

    def remedies(self) -> tuple[Pass, ...]:
        """More channels, then more bits."""
        wider = (replace(self, narrow=min(1.0, 2 * self.narrow)),) if self.narrow < 1 else ()
        longer = LONGER.get(self.crossing)
        if longer is None or (longer == "float" and self.narrow == 1):
            return wider
        return (*wider, replace(self, crossing=longer))

    def _chosen(self, model: Model, goal: Goal) -> list[Cut]:
        if not self.behind:
            return self._best(model, goal)
        places = {cut.layer: cut for cut in self._places(model)}
        for name in self.behind:
            if name not in places:
                raise NetsukeError(
                    f"{self.name}: behind: no cut behind {name!r}; {nearest(name, list(places))}"
                )
        return [cut for name, cut in places.items() if name in self.behind]

    def _finished(
        self,
        network: GraphModule,
        model: Model,
        goal: Goal,
        ends: Mapping[str, int],
        samples: Calibration,
    ) -> tuple[GraphModule, tuple[str, ...]]:
        """Coded at these ends, by their channels' axis, and trained with that where it lost much: ranges are of what crosses
        in the end."""
        network, training = clone(network), tuple[str, ...]()
        if self.crossing != "float":
            for name, axis in ends.items():
                coded(network, name, BITS[self.crossing], axis)
            calibrate(network, goal.track(samples, "calibrating"))
        if self.narrow < 1 or self.crossing == "int4":
            network, training = self.retrained(network, model.network, goal, self.epochs)
            if self.crossing != "float":
                calibrate(network, goal.track(samples, "calibrating"))
        return network, training

    def _places(self, model: Model) -> list[Cut]:
        """Where the channels are known and, if two values are to cross in a byte, of an even number."""
        every = self.crossing != "int4" or self.narrow < 1
        known = (cut for cut in cuts(model) if cut.channels is not None)
        return [cut for cut in known if every or cut.shape[_axis(cut)] % 2 == 0]

    def _best(self, model: Model, goal: Goal) -> list[Cut]:
        """The places that give the most answers a second on devices that are all as fast."""
        places, found = self._places(model), layers(model)
        seconds = _seconds(found, goal, [place.share for place in places])
        seat = Seat(
            name="",
            seconds=tuple(seconds),
            memory=float(_longest(len(seconds), self.parts)),
            route=Route(bandwidth=self.rate / 8),
        )
        row = Row(
            seats=(seat,) * self.parts,
            crossing=(0.0, *(self._smaller * _size(place) for place in places), 0.0),
            takes=lambda start, end: float(end - start),
        )
        return [places[share.start - 1] for share in best(row, "throughput").shares[1:]]

    @property
    def _smaller(self) -> float:
        """Bytes of what crosses ÷ of the floats that would."""
        return self.narrow * BITS[self.crossing] / 32

    def _kept(self, cut: Cut) -> int:
        least = 2 if self.crossing == "int4" else 1
        return max(least, least * round(self.narrow * cut.shape[_axis(cut)] / least))

    def _told(self, chosen: Sequence[Cut]) -> str:
        sizes = [show(self._smaller * _size(cut), "B") for cut in chosen]
        return " and ".join(sizes)


def _axis(cut: Cut) -> int:
    assert cut.channels is not None, "places without channels are left out"
    return cut.channels


def _size(cut: Cut) -> float:
    """Bytes of one sample in floats."""
    size = 4.0
    for side in cut.shape[1:]:
        size *= side
    return size


def _longest(segments: int, parts: int) -> int:
    """No device takes so many that another is left with none."""
    return segments - parts + 1


def _seconds(found: Sequence[Layer], goal: Goal, shares: Sequence[float]) -> list[float]:
    """Of each stretch between places, by the device's kernels where they are known, else by its facts."""
    near, total = warm(tuple(found), goal.device), sum(layer.macs for layer in found)
    done, ends, taken = 0, [*shares, 1.0], [0.0] * (len(shares) + 1)
    place = 0
    for layer in found:
        known = goal.kernels(layer) if goal.kernels else None
        taken[place] += layer_seconds(layer, near) if known is None else known
        done += layer.macs
        while place < len(shares) and done >= ends[place] * total:
            place += 1
    return taken
