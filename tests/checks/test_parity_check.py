"""Parity, judged."""

import pytest
from scipy.stats import binom

from netsuke.checks.parity import Parity, may_differ
from netsuke.core.budget import Budget
from netsuke.core.evidence import Evidence


def judge(differ: int, samples: int, device: str = "local"):
    evidence = Evidence(
        what="agreement", value=1 - differ / samples, unit="%", source="measured", device="local",
        samples=samples,
    )  # fmt: skip
    (verdict,) = Parity().judge((evidence,), Budget(), device)
    return verdict


@pytest.mark.parametrize(
    ("differ", "samples", "outcome"),
    [
        (0, 10, "pass"),
        (1, 10, "fail"),
        (1, 51, "fail"),
        (1, 52, "pass"),
        (1, 900, "pass"),
        (3, 1_000, "pass"),
        (4, 1_000, "fail"),
        (15, 10_000, "pass"),
        (16, 10_000, "fail"),
    ],
)
def test_one_in_a_thousand_may_differ(differ, samples, outcome):
    assert judge(differ, samples).outcome == outcome


def test_the_reason_has_the_counts():
    assert judge(8, 10_000).reason == (
        "parity: 8 of 10,000 predictions differ between simulation and runtime "
        "(99.92 % agree, 15 may differ)"
    )


def test_it_counts_for_a_device_that_is_only_estimated():
    assert judge(0, 1000, device="pi4").outcome == "pass"


def test_not_compared_is_unknown():
    (verdict,) = Parity().judge((), Budget(), "local")
    assert verdict.outcome == "unknown"


@pytest.mark.parametrize("samples", [1, 52, 999, 10_000, 1_000_000])
def test_so_many_may_differ_as_chance_explains(samples):
    allowed = may_differ(samples)
    assert binom.sf(allowed - 1, samples, 0.001) >= 0.05 > binom.sf(allowed, samples, 0.001)
