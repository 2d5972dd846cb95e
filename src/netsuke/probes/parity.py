"""Whether what was simulated is what runs."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from netsuke.core.artifact import Artifact
from netsuke.core.data import Array, Stream, to_array
from netsuke.core.errors import NetsukeError
from netsuke.core.evidence import Evidence
from netsuke.core.goal import Goal
from netsuke.core.probe import Probe, Subject
from netsuke.probes._run import first_outputs, threads

# Outputs that are no classes agree where they differ by less than this share of their spread.
TOLERANCE = 0.01
WORK = 4e11
"""Multiply-accumulates to simulate: some minutes of a core."""


@dataclass(frozen=True)
class Parity(Probe):
    """The framework's simulation (float64) against the runtime, on the same samples.

    Evidence: "agreement", the share of samples with the same prediction, and "parity_max", the
    largest absolute difference of an output. Nothing without a stream or a simulation. samples: at
    most so many, drawn with the goal's seed, and a tenth of them at least: a float64 simulation is
    slow, so large models are compared on as many as make up ``WORK``.
    """

    name: ClassVar[str] = "parity"

    samples: int = 1000

    def measure(
        self, subject: Subject, baseline: Subject, stream: Stream | None, goal: Goal
    ) -> tuple[Evidence, ...]:
        if stream is None or subject.simulate is None:
            return ()
        chosen = stream.head(self._samples(subject.artifact), goal.seed)
        session = subject.open(threads())
        ran, simulated = [], []
        for _, inputs, output in first_outputs(session, subject.artifact, chosen):
            ran.append(output)
            simulated.append(_first(subject.simulate(inputs)))
        if not ran:
            raise NetsukeError(f"{stream.field}: there are no samples")
        return _compare(np.concatenate(ran), np.concatenate(simulated), goal)

    def _samples(self, artifact: Artifact) -> int:
        each = sum(layer.macs for layer in artifact.layers or ())
        return max(self.samples // 10, min(self.samples, int(WORK / max(each, 1))))


def _first(outputs: object) -> Array:
    """The first of several outputs, as an array."""
    return to_array(outputs[0] if isinstance(outputs, tuple | list) else outputs)


def _compare(ran: Array, simulated: Array, goal: Goal) -> tuple[Evidence, Evidence]:
    if ran.shape != simulated.shape:
        raise NetsukeError(
            f"parity: the runtime's output is {ran.shape}, the simulation's {simulated.shape}"
        )
    classes = goal.data.metric.loss == "cross_entropy" and ran.ndim > 1 and ran.shape[1] > 1
    apart = np.abs(ran.astype(np.float64) - simulated)
    if classes:
        same = ran.argmax(1) == simulated.argmax(1)
        note = "the same largest output, simulated in float64 and executed"
    else:
        same = apart <= TOLERANCE * float(np.std(simulated))
        note = f"outputs within {TOLERANCE:.0%} of their spread, simulated in float64 and executed"
    agreeing = same.reshape(len(ran), -1).all(1)
    return (
        Evidence(
            what="agreement", value=float(agreeing.mean()), unit="%", source="measured",
            device="local", samples=len(ran), note=note,
        ),
        Evidence(
            what="parity_max", value=float(apart.max()), unit="", source="measured",
            device="local", samples=len(ran),
        ),
    )  # fmt: skip
