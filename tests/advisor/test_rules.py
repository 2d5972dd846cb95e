"""Every rule: facts that fire it, and facts a step away that do not."""

import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from netsuke.advisor.applications import APPLICATIONS, application
from netsuke.advisor.facts import Facts
from netsuke.advisor.rules import RULES, findings
from netsuke.core.budget import Budget
from netsuke.core.device import Device
from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.layer import Layer
from netsuke.core.task import Task, ready

MACHINE = Device(
    name="machine", title="a machine", memory=1e9, storage=1e9, cores=1, kernel_width=8,
    formats={"fp32": 1e9, "int8": 4e9}, bandwidth=1e10, overhead=1e-6,
    energy={"fp32": 1e-11, "int8": 2e-12, "byte": 1e-11},
)  # fmt: skip
CONV = Layer(
    name="conv", op="conv2d", weights=9 * 64 * 64, inputs=64 * 256, outputs=64 * 256, alive=2 * 64 * 256,
    macs=9 * 64 * 64 * 256, channels=(64, 64),
)  # fmt: skip
WIDE = Layer(
    name="wide", op="linear", weights=4096 * 512, inputs=4096, outputs=512, macs=4096 * 512, channels=(4096, 512),
)  # fmt: skip
TINY = Layer(name="tiny", op="linear", weights=64, inputs=8, outputs=8, macs=64, channels=(8, 8))
DATA = (np.zeros((8, 4), np.float32), np.zeros(8, np.int64))
TRAINED = ready(Task(train=DATA, validate=DATA))
UNTRAINED = ready(Task(validate=DATA))
# Each limit below is set against what it needs as it came.
BASE = Facts(layers=(CONV,), goal=Goal(data=TRAINED, device=MACHINE))


def limited(**limits: float) -> Facts:
    return replace(BASE, goal=replace(BASE.goal, budget=Budget(**limits)))


def on(**facts: object) -> Facts:
    return replace(BASE, goal=replace(BASE.goal, device=replace(MACHINE, **facts)))  # type: ignore[arg-type]


def used(name: str) -> Facts:
    return replace(BASE, application=application(name))


SIZE, MEMORY, TIME = (BASE.needs[what] for what in ("size", "memory", "latency_p95"))
JOULES = BASE.needs["energy"]
NO_DATA = replace(BASE, goal=replace(BASE.goal, data=UNTRAINED))
EXACT = limited(drop=0.005)

FIRES = {
    "speed_is_short": limited(latency_p95=0.9 * TIME),
    "memory_is_short": limited(memory=0.9 * MEMORY),
    "storage_alone_is_short": limited(size=0.5 * SIZE),
    "more_than_bits_is_short": limited(size=0.2 * SIZE),
    "bytes_alone_are_short": limited(size=0.2 * SIZE),
    "halves_of_bytes_may_do": limited(size=0.2 * SIZE),
    "energy_is_short": limited(energy=0.9 * JOULES),
    "integer_kernels": BASE,
    "floats_run_elsewhere": on(fallback=("fp32",)),
    "no_integer_kernels": on(formats={"fp32": 1e9}),
    "halves_without_integers": on(formats={"fp32": 1e9, "fp16": 2e9}),
    "memory_bound": replace(BASE, layers=(WIDE,), goal=replace(BASE.goal, device=replace(MACHINE, bandwidth=1e9))),
    "matrix_units": on(unit="matrix"),
    "sparse_kernels": on(sparse=("2:4",)),
    "no_sparse_kernels": BASE,
    "calls_cost_most": replace(BASE, layers=(TINY,) * 9),
    "realtime": used("vision"),
    "battery_and_patience": used("maintenance"),
    "no_training_data": NO_DATA,
    "tight_schedule": replace(BASE, hours=0.5),
    "little_tolerance_and_time": EXACT,
    "overfitted": replace(BASE, gap=0.08),
    "too_big_for_one": on(memory=0.1 * MEMORY),
    "no_carving_meets_it": limited(latency_p95=0.02 * TIME),
}  # fmt: skip
STAYS = {
    "speed_is_short": limited(latency_p95=1.1 * TIME),
    "memory_is_short": limited(memory=1.1 * MEMORY),
    "storage_alone_is_short": limited(size=0.5 * SIZE, memory=0.9 * MEMORY),
    "more_than_bits_is_short": limited(size=0.5 * SIZE),
    "bytes_alone_are_short": limited(size=0.2 * SIZE, latency_p95=0.05 * TIME),
    "halves_of_bytes_may_do": on(storage=0.2 * SIZE, runtimes=("tflite_micro",)),
    "energy_is_short": limited(energy=1.1 * JOULES),
    "integer_kernels": on(formats={"fp32": 1e9, "int8": 1e9}),
    "floats_run_elsewhere": BASE,
    "no_integer_kernels": BASE,
    "halves_without_integers": on(formats={"fp32": 1e9, "fp16": 2e9, "int8": 4e9}),
    "memory_bound": BASE,
    "matrix_units": on(unit="matrix", sparse=("2:4",)),
    "sparse_kernels": BASE,
    "no_sparse_kernels": on(sparse=("free",)),
    "calls_cost_most": BASE,
    "realtime": used("wearables"),
    "battery_and_patience": used("speech"),
    "no_training_data": BASE,
    "tight_schedule": replace(BASE, hours=2.0),
    "little_tolerance_and_time": replace(EXACT, hours=0.5),
    "overfitted": replace(BASE, gap=0.02),
    "too_big_for_one": BASE,
    "no_carving_meets_it": limited(latency_p95=0.3 * TIME),
}


def fired(facts: Facts) -> set[str]:
    return {found.rule for found in findings(facts)}


def test_every_rule_is_here() -> None:
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    assert set(FIRES) == set(STAYS) == set(names)


@pytest.mark.parametrize("name", FIRES)
def test_it_fires_and_says_the_figure_and_who_says_so(name: str) -> None:
    (found,) = (one for one in findings(FIRES[name]) if one.rule == name)
    assert found.source
    assert "\n" not in found.why
    # A figure, or the fact by name, is what a sceptic can look up.
    assert any(c.isdigit() for c in found.why) or "machine" in found.why or "data" in found.why or name in ("realtime", "battery_and_patience")  # fmt: skip


@pytest.mark.parametrize("name", STAYS)
def test_it_does_not_fire(name: str) -> None:
    assert name not in fired(STAYS[name])


def test_integers_of_four_bits_where_these_are_faster() -> None:
    facts = on(formats={"fp32": 1e9, "int8": 4e9, "int4": 8e9})
    (found,) = (one for one in findings(facts) if one.rule == "integer_kernels")
    assert "4 bits" in found.why
    even = on(formats={"fp32": 1e9, "int8": 4e9, "int4": 4e9})
    (found,) = (one for one in findings(even) if one.rule == "integer_kernels")
    assert "8 bits" in found.why  # fewer bits that win no time lose quality for nothing


def test_a_limit_nobody_set_is_the_devices_own() -> None:
    assert "memory_is_short" in fired(on(memory=0.5 * MEMORY))
    assert "storage_alone_is_short" in fired(on(storage=0.5 * SIZE))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_no_rule_knows_a_model_or_a_device_by_name(rule) -> None:
    text = inspect.getsource(rule.fire)
    for word in ("resnet", "mobilenet", "bert", "pi4", "coral", "jetson", '== "machine'):
        assert word not in text.lower()


def test_an_unknown_application_is_told_with_near_ones() -> None:
    with pytest.raises(NetsukeError, match="no 'visions'; did you mean vision"):
        application("visions")
    assert set(APPLICATIONS) == {"maintenance", "vision", "wearables", "speech"}


def test_every_rule_stands_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "advisor.md").read_text(encoding="utf8")
    for rule in RULES:
        row = f"| `{rule.name}` | {rule.stance} {rule.technique} | {' '.join(str(rule.fire.__doc__).split())} | {rule.source} |"
        assert row in text, rule.name
