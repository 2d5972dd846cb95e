"""An early exit: the network ends where it knows enough."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from netsuke.core.goal import Goal
from netsuke.core.model import Model, Step
from netsuke.core.passes import Pass, Range
from netsuke.nets.costs import layers, totals
from netsuke.nets.cuts import Cut, cuts
from netsuke.nets.exits import ended
from netsuke.nets.graph import shapes
from netsuke.nets.samples import Calibration
from netsuke.passes.prune.retraining import RetrainedPass

SAMPLES = 1024
"""Calibration samples that the new output layer is fitted on."""


@dataclass(frozen=True, kw_only=True)
class Exit(RetrainedPass):
    """End the network early: the mean of each channel behind a block, and a linear layer in place of all that came
    after (Teerapittayanon et al., 2016, "BranchyNet", whose exits these are, one of them taken for good).

    at: the share of the multiply-accumulates behind which it ends at the latest; the last place before that
    which a single tensor crosses is taken. The new layer is fitted by least squares to what the whole network gives,
    without labels. epochs, lr and so on: retraining with the original as teacher.
    """

    name: ClassVar[str] = "search.exit"
    at: Annotated[float, Range(0.05, 0.95)] = 0.6

    @property
    def asks_device(self) -> bool:
        """The same for every device."""
        return False

    def refuse(self, model: Model, goal: Goal) -> str | None:
        """Where its outputs are not one row a sample, or it can be cut nowhere so early."""
        out = next(n for n in model.network.graph.nodes if n.op == "output")
        known = shapes(model.network, model.example)
        given = [known.get(n.name, ()) for n in out.all_input_nodes]
        if len(given) != 1 or len(given[0]) != 2:
            return (
                "its outputs are not one row of numbers a sample, which a linear layer could give"
            )
        places = _places(model)
        if not places:
            return "no single tensor crosses it before its end"
        if places[0].share > self.at:
            return f"at = {self.at:g}: the first place it can end is behind {100 * places[0].share:.0f} % of the macs ({places[0].layer})"
        return None

    def apply(self, model: Model, goal: Goal) -> Model:
        """The model up to the exit, its output layer fitted and retrained."""
        cut = [place for place in _places(model) if place.share <= self.at][-1]
        network = ended(model, cut, Calibration(model, goal, SAMPLES))
        network, training = self.retrained(network, model.network, goal, self.epochs)
        was, now = (totals(layers(m)) for m in (model, replace(model, network=network)))
        step = Step(
            name=self.name,
            settings=self.settings(),
            summary=f"ends behind {cut.layer}: −{100 * (1 - now.macs / was.macs):.0f} % of the macs, "
            f"{100 * (now.weights / was.weights - 1):+.0f} % of the parameters".replace("-", "−"),
            notes=training,
        )
        return model.then(network, step)

    def remedies(self) -> tuple[Pass, ...]:
        """Later, then more retraining."""
        later = (replace(self, at=round(0.5 * (1 + self.at), 3)),) if self.at < 0.85 else ()
        longer = (replace(self, epochs=2 * self.epochs),) if self.epochs else ()
        return (*later, *longer)


def _places(model: Model) -> list[Cut]:
    return [cut for cut in cuts(model) if cut.channels is not None]
