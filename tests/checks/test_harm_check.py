"""What the gate asks after each step."""

import pytest

from netsuke.checks.harm import Harm, costs_quality
from netsuke.core.budget import Budget
from netsuke.core.evidence import Evidence

FAST, SMALL, BOTH = Budget(latency_p95="5 ms"), Budget(size="1 MB"), Budget()


def piece(what: str, value: float, low=None, high=None, device="local") -> Evidence:
    unit = "pt" if what == "drop" else "x"
    return Evidence(
        what=what, value=value, low=low, high=high, unit=unit, source="measured", device=device,
        samples=900,
    )  # fmt: skip


def step(drop=0.002, speed=(1.8, 1.7, 1.9), size=2.0) -> tuple[Evidence, ...]:
    made = [
        None if drop is None else piece("drop", drop, drop - 0.004, drop + 0.004),
        None if speed is None else piece("step_speedup", *speed),
        None if size is None else piece("step_size", size),
    ]
    return tuple(e for e in made if e is not None)


def judge(evidence, budget=BOTH, device="local"):
    (verdict,) = Harm().judge(evidence, budget, device)
    return verdict


def test_a_good_step_passes_and_says_what_it_gained():
    verdict = judge(step())
    assert verdict.outcome == "pass"
    assert "1.80×" in verdict.reason
    assert "0.20 pt of quality lost" in verdict.reason
    assert "2.00× smaller" in verdict.reason


def test_quality_that_is_better_than_before_is_won():
    assert (
        "1.00 pt of quality won against the original, 2.00 pt allowed"
        in judge(step(drop=-0.01), Budget(drop="2 pt")).reason
    )


def test_more_quality_lost_than_allowed_is_harm():
    verdict = judge(step(drop=0.021), Budget(drop="2 pt"))
    assert verdict.outcome == "fail"
    assert verdict.reason == "2.10 pt of quality lost against the original, 2.00 pt allowed"
    assert judge(step(drop=0.019), Budget(drop="2 pt")).outcome == "pass"


def test_without_a_limit_one_point_may_be_lost_and_it_says_so():
    assert judge(step(drop=0.009)).outcome == "pass"
    verdict = judge(step(drop=0.011))
    assert verdict.outcome == "fail"
    assert "1.00 pt allowed where no limit is set" in verdict.reason


def test_a_gain_in_quality_is_no_harm():
    assert judge(step(drop=-0.01)).outcome == "pass"


@pytest.mark.parametrize(
    ("speed", "outcome"),
    [
        ((0.9, 0.88, 0.92), "fail"),  # surely slower
        ((0.99, 0.985, 0.995), "fail"),  # a little, but surely
        ((0.96, 0.9, 1.02), "fail"),  # much, if it is
        ((0.99, 0.97, 1.01), "pass"),  # noise
        ((0.96, None, None), "fail"),
        ((1.0, None, None), "pass"),
    ],
)
@pytest.mark.parametrize("budget", [FAST, BOTH])
def test_a_slower_step_is_harm_where_speed_is_wanted(speed, outcome, budget):
    assert judge(step(speed=speed), budget).outcome == outcome


def test_a_slower_step_is_no_harm_where_only_size_is_limited():
    assert judge(step(speed=(0.8, 0.79, 0.81)), SMALL).outcome == "pass"


def test_bigger_is_harm_unless_it_is_faster():
    assert judge(step(size=0.9, speed=(1.5, 1.4, 1.6))).outcome == "pass"
    verdict = judge(step(size=0.8, speed=(1.0, 0.98, 1.02)))
    assert verdict.outcome == "fail"
    assert verdict.reason.startswith("1.25× as big as what it replaced, 1.00×")


def test_every_harm_is_named():
    verdict = judge(step(drop=0.05, speed=(0.5, 0.4, 0.6), size=0.5))
    assert verdict.reason.count(";") == 2


@pytest.mark.parametrize("missing", ["drop", "speed", "size"])
def test_missing_evidence_is_unknown(missing):
    verdict = judge(step(**{missing: None}), FAST)
    assert verdict.outcome == "unknown"
    assert "nothing is known" in verdict.reason


def test_harm_weighs_more_than_what_is_missing():
    assert judge(step(drop=0.5, speed=None), FAST).outcome == "fail"


def test_another_devices_speed_does_not_count():
    assert judge(step(), FAST, device="pi4").outcome == "unknown"


def test_evidence_on_no_step_says_nothing():
    assert Harm().judge((piece("drop", 0.5),), BOTH, "local") == ()


def test_only_lost_quality_can_be_won_back_by_a_remedy():
    assert costs_quality(step(drop=0.05), BOTH)
    assert not costs_quality(step(speed=(0.5, 0.4, 0.6)), BOTH)
    assert not costs_quality(step(drop=None), BOTH)


def test_a_step_that_gains_elsewhere_is_asked_for_quality_alone():
    neither = step(drop=0.002, speed=(0.9, 0.8, 0.95), size=0.99)
    assert judge(neither).outcome == "fail"
    (verdict,) = Harm("less crosses").judge(neither, BOTH, "local")
    assert verdict.outcome == "pass"
    assert verdict.reason.endswith("gains elsewhere: less crosses")
    (verdict,) = Harm("less crosses").judge(step(drop=0.5), BOTH, "local")
    assert verdict.outcome == "fail"
