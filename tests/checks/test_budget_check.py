"""Limits, judged."""

import pytest

from netsuke.checks.budget import Limits
from netsuke.core.budget import Budget
from netsuke.core.evidence import Evidence


def found(what: str, value: float, low=None, high=None, **changes) -> Evidence:
    units = {"size": "B", "memory": "B", "drop": "pt", "energy": "J"}
    given = {"unit": units.get(what, "s"), "source": "measured", "device": "local", "samples": 1000}
    return Evidence(what=what, value=value, low=low, high=high, **{**given, **changes})


def judge(budget: Budget, *evidence: Evidence, device: str = "local"):
    return Limits().judge(evidence, budget, device)


def test_one_verdict_a_limit_and_none_without_limits():
    evidence = (found("size", 90e3), found("latency_p95", 0.004))
    verdicts = judge(Budget(size="100 KB", latency_p95="5 ms", energy="1 mJ"), *evidence)
    assert [v.outcome for v in verdicts] == ["pass", "pass", "unknown"]
    assert judge(Budget(), *evidence) == ()


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (-0.002, 0.008, "pass"),
        (-0.002, 0.01, "pass"),
        (0.012, 0.03, "fail"),
        (0.0, 0.02, "unknown"),
    ],
)
def test_a_drop_is_judged_by_its_whole_interval(low, high, outcome):
    (verdict,) = judge(Budget(drop="1 pt"), found("drop", (low + high) / 2 + 1e-4, low, high))
    assert verdict.outcome == outcome


def test_an_unknown_drop_says_how_many_more_samples_would_settle_it():
    (verdict,) = judge(Budget(drop="1 pt"), found("drop", 0.005, -0.005, 0.015))
    assert verdict.reason == (
        "drop ≤ 1.00 pt: +0.50 pt (95 %: -0.50 pt … +1.50 pt); about 3,000 more samples would settle it"
    )


def test_a_drop_on_the_limit_is_never_settled():
    (verdict,) = judge(Budget(drop="1 pt"), found("drop", 0.01, 0.0, 0.02))
    assert verdict.outcome == "unknown"
    assert "no number of samples" in verdict.reason


def test_a_drop_without_an_interval_is_unknown():
    (verdict,) = judge(Budget(drop="1 pt"), found("drop", 0.0, samples=1))
    assert verdict.outcome == "unknown"


def test_bytes_need_no_interval():
    assert judge(Budget(size=100), found("size", 100))[0].outcome == "pass"
    assert judge(Budget(size=100), found("size", 101))[0].outcome == "fail"


def test_what_depends_on_the_machine_counts_for_the_device_alone():
    here = found("latency_p95", 0.001, 0.0009, 0.0011)
    (verdict,) = judge(Budget(latency_p95="5 ms"), here, device="pi4")
    assert verdict.outcome == "unknown"
    assert verdict.reason == "latency p95 ≤ 5 ms: nothing is known of it on pi4"
    there = found("latency_p95", 0.02, 0.013, 0.03, source="estimated", device="pi4")
    assert judge(Budget(latency_p95="5 ms"), here, there, device="pi4")[0].outcome == "fail"
    assert judge(Budget(latency_p95="5 ms"), here, there)[0].outcome == "pass"


def test_size_and_drop_are_the_artifacts_wherever_it_runs():
    evidence = (found("size", 90), found("drop", 0.0, -0.001, 0.001))
    verdicts = judge(Budget(size=100, drop="1 pt"), *evidence, device="pi4")
    assert [v.outcome for v in verdicts] == ["pass", "pass"]


def test_an_estimate_whose_range_reaches_across_the_limit_is_unknown():
    guess = found(
        "latency_p95", 0.0045, 0.003, 0.00675, source="estimated", device="pi4", samples=1
    )
    (verdict,) = judge(Budget(latency_p95="5 ms"), guess, device="pi4")
    assert verdict.outcome == "unknown"
    assert "estimated for pi4" in verdict.reason
    assert "measure it on pi4" in verdict.reason
    assert judge(Budget(latency_p95="7 ms"), guess, device="pi4")[0].outcome == "pass"


def test_a_refused_measurement_passes_on_its_reason():
    refused = found(
        "cpu_p50", 0.001, note="wall-clock latency refused: the machine is too busy (1 of 300 …)"
    )
    (verdict,) = judge(Budget(latency_p95="5 ms"), refused)
    assert verdict.outcome == "unknown"
    assert "the machine is too busy" in verdict.reason
