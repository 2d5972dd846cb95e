"""Parity, judged."""

import pytest

from netsuke.checks.parity import Parity
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
        (2, 900, "fail"),
        (10, 10_000, "pass"),
        (11, 10_000, "fail"),
        (3, 3_000, "pass"),
    ],
)
def test_one_in_a_thousand_may_differ(differ, samples, outcome):
    assert judge(differ, samples).outcome == outcome


def test_the_reason_has_the_counts():
    assert judge(8, 10_000).reason == (
        "parity: 8 of 10,000 predictions differ between simulation and runtime "
        "(99.92 % agree, 10 may differ)"
    )


def test_it_counts_for_a_device_that_is_only_estimated():
    assert judge(0, 1000, device="pi4").outcome == "pass"


def test_not_compared_is_unknown():
    (verdict,) = Parity().judge((), Budget(), "local")
    assert verdict.outcome == "unknown"
