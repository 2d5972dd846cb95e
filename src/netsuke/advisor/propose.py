"""Proposes recipes from the limits and facts about the model, its use and the device.

The mildest first: shorter numbers alone where they are expected to meet the limits, for they are the
cheapest and cost the least quality. With training data and a tighter limit, channels are pruned first,
30 % to begin with, retrained with the original as teacher, and then the numbers are made shorter.
"""

from netsuke.advisor.advice import Advice, Proposal
from netsuke.advisor.candidates import Candidate, candidates
from netsuke.advisor.facts import INTEGERS, UNITS, WORDS, Facts
from netsuke.advisor.rules import findings
from netsuke.core.device import Device
from netsuke.core.errors import NetsukeError
from netsuke.core.footprint import file_bytes, memory_bytes
from netsuke.core.guess import Guess
from netsuke.core.quantity import show
from netsuke.core.roofline import model_joules
from netsuke.probes.estimate import ENERGY_SPREAD, SPREAD

LEAST_FILE = 100
"""Bytes of an ONNX file of one operation without weights."""
Range = tuple[float, float]
SIZE, CARVED_SIZE = (0.93, 1.07), (0.7, 1.1)
"""How far a file's bytes may be off: of bits alone, and where channels left (whole blocks take more than asked)."""
HERE, CARVED_HERE = (0.7, 1.4), (0.6, 1.5)
"""The same of a call on this machine, whose original was timed."""
MEMORY, CARVED_MEMORY = (0.8, 1.25), (0.7, 1.3)
HEADROOM = 1.1
"""What a call on this machine must be expected to be under its limit by, so that the first recipe is likely to do."""
WORK = (0.4, 2.5)
STEP_SECONDS = 25.0
"""To export, time and judge a step of a small network."""
TRAINING_CALLS = 4
"""A step of training: forwards, backwards (twice), and the teacher."""


def propose(facts: Facts) -> Advice:
    """Recipes for a model with these layers (as captured, FP32), best first.

    Raises NetsukeError for a limit below what any model takes on the device, or limits that exclude
    each other.
    """
    _check_limits(facts)
    fired = findings(facts)
    names = frozenset(found.rule for found in fired)
    options = [_proposal(candidate, facts) for candidate in candidates(facts, names)]
    fitting = [o for o in options if not _misses(o, facts)]
    # Milder ones are not tried; where nothing is expected to fit, what comes nearest is tried first.
    left = options[options.index(fitting[0]) :] if fitting else options
    others = sorted((o for o in left if o not in fitting), key=lambda o: _excess(o, facts))
    ordered = (*fitting, *others)
    return Advice(
        proposals=ordered,
        reasons=tuple(_reasons(facts, ordered[0])),
        ruled_out=tuple(_ruled_out(options, left, facts)),
        findings=fired,
    )


def _check_limits(facts: Facts) -> None:
    floors = {
        "size": (LEAST_FILE, "an ONNX file of one operation without weights"),
        "latency_p95": (
            facts.device.call + facts.device.overhead,
            "the call of one operation there",
        ),
        "memory": (memory_bytes((), facts.device) / SPREAD, "a runtime's session without weights"),
    }
    for what, limit in facts.goal.budget.limits().items():
        floor, why = floors.get(what, (0.0, ""))
        if what in facts.has and limit > facts.has[what]:
            raise NetsukeError(
                f"budget {what}: {show(limit, 'B')} contradicts the device, {facts.device.name} has "
                f"{show(facts.has[what], 'B')}; leave the limit out, or lower it"
            )
        if limit < floor:
            raise NetsukeError(
                f"budget {what}: {show(limit, UNITS[what])} for {WORDS[what]} on {facts.device.name} cannot be "
                f"met: {why} takes {show(floor, UNITS[what])}"
            )


def _proposal(candidate: Candidate, facts: Facts) -> Proposal:
    """A candidate with its figures, corrected by what was measured of the original."""
    device, carved = facts.device, candidate.carved
    found = {
        "size": Guess.within(
            file_bytes(candidate.layers) * facts.correction("size"), CARVED_SIZE if carved else SIZE, "B",
            "the layers' bits, and what a graph takes",
        ),
        "latency_p50": Guess.within(
            facts.call(candidate.layers), _spread(device, HERE, CARVED_HERE, carved), "s",
            "a roofline of the device's rates" + _timed(facts),
        ),
        "memory": Guess.within(
            max(memory_bytes(candidate.layers, device) + facts.beyond("memory"), 0.0), _spread(device, MEMORY, CARVED_MEMORY, carved), "B",
            "weights as they are packed, and the activations that live at once",
        ),
    }  # fmt: skip
    joules = model_joules(candidate.layers, device)
    if joules is not None:
        found["energy"] = Guess.within(
            joules, (1 / ENERGY_SPREAD, ENERGY_SPREAD), "J", "products and bytes (Horowitz, 2014)"
        )
    gains = {name: facts.needed(name) / guess.value for name, guess in found.items()}
    found["drop"] = candidate.loss
    if facts.workshop is not None:
        found["work"] = _work(candidate, facts, facts.workshop)
    return Proposal(recipe=candidate.recipe, reason=candidate.reason, figures=found, gains=gains)


def _timed(facts: Facts) -> str:
    """What the time of a call rests on besides."""
    if INTEGERS in facts.measured:
        return ", the original timed in floats and in integers"
    return ", the original timed" if facts.measured else ""


def _spread(device: Device, here: Range, carved_here: Range, carved: bool) -> Range:
    if device.measured:
        return carved_here if carved else here
    return (1 / SPREAD, SPREAD)


def _work(candidate: Candidate, facts: Facts, workshop: Device) -> Guess:
    """Seconds of calibrating, training and measuring on the machine that does the work."""
    data = facts.goal.data
    samples = candidate.epochs * (0 if data.train is None else len(data.train))
    macs = sum(layer.macs for layer in facts.layers)
    calls = TRAINING_CALLS * samples + len(data.validate) * (1 + candidate.epochs)
    seconds = calls * macs / (workshop.formats["fp32"] * workshop.cores) + STEP_SECONDS * len(
        tuple(candidate.recipe)
    )
    return Guess.within(seconds, WORK, "s", f"products of training at {workshop.name}'s FP32 rate")


def _misses(option: Proposal, facts: Facts) -> list[str]:
    """The limits this proposal is not expected to meet, in words."""
    limits, units, words = (
        facts.goal.budget.limits(),
        UNITS | {"drop": "pt"},
        WORDS | {"drop": "quality"},
    )
    return [
        f"{show(value, units[what])} expected for {words[what]}, {show(limits[what], units[what])} allowed"
        for what, value in _expected(option, facts).items()
        if value > limits.get(what, float("inf"))
    ]


def _excess(option: Proposal, facts: Facts) -> float:
    """How many times over its limit the worst figure is expected to be."""
    limits = facts.goal.budget.limits()
    return max(
        (v / max(limits[what], 1e-12) for what, v in _expected(option, facts).items() if what in limits),
        default=0.0,
    )  # fmt: skip


def _expected(option: Proposal, facts: Facts) -> dict[str, float]:
    """What is held against the limits, by their names."""
    figures = option.figures
    slowest = facts.slow(figures["latency_p50"].value * HEADROOM)
    if not facts.device.measured:
        # An estimate passes only when its whole range does; a measurement will speak for itself.
        slowest = figures["latency_p50"].high
    same = {
        what: figures[what].value
        for what in ("size", "memory", "energy", "drop")
        if what in figures
    }
    return {"latency_p95": slowest} | same


def _reasons(facts: Facts, chosen: Proposal) -> list[str]:
    goal, weights = facts.goal, sum(layer.weights for layer in facts.layers)
    reasons = [f"{weights:,} weights are {show(4 * weights, 'B')} in FP32; {chosen.reason}"]
    rates = goal.device.formats
    if "int8" in rates:
        reasons.append(
            f"{goal.device.name} multiplies INT8 {rates['int8'] / rates['fp32']:.1f}× as fast as FP32"
        )
    if goal.data.train is None:
        reasons.append("the task has no training data, so only post-training methods are proposed")
    if misses := _misses(chosen, facts):
        reasons.append(
            f"no proposal is expected to meet every limit ({'; '.join(misses)}); the nearest is tried first"
        )
    return reasons


def _ruled_out(options: list[Proposal], kept: list[Proposal], facts: Facts) -> list[str]:
    return [f"{o.reason}: {'; '.join(_misses(o, facts))}" for o in options if o not in kept]
