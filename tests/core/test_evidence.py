"""Evidence and verdicts."""

import json

import pytest

from netsuke.core.evidence import Evidence, find
from netsuke.core.verdict import Verdict, combine


def piece(**changes) -> Evidence:
    given = {
        "what": "latency_p95",
        "value": 0.0048,
        "unit": "s",
        "source": "measured",
        "device": "local",
    }
    return Evidence(**{**given, **changes})


def test_it_is_written_for_people():
    assert str(piece()) == "4.8 ms"
    assert str(piece(low=0.0045, high=0.0051)) == "4.8 ms (95 %: 4.5 ms … 5.1 ms)"


def test_an_estimate_says_so_and_calls_its_range_no_confidence():
    text = str(piece(source="estimated", device="pi4", low=0.0032, high=0.0072))
    assert text == "4.8 ms (range: 3.2 ms … 7.2 ms) estimated for pi4"


def test_it_round_trips_through_json():
    whole = piece(low=0.1, high=0.2, samples=7, note="quiet")
    assert Evidence(**json.loads(json.dumps(whole.to_dict()))) == whole


def test_find_prefers_measured_and_keeps_devices_apart():
    estimated = piece(source="estimated", device="pi4")
    emulated = piece(source="emulated", device="pi4")
    here = piece()
    assert find((estimated, emulated, here), "latency_p95", "pi4") is emulated
    assert find((estimated, here), "latency_p95") is here
    assert find((here,), "latency_p95", "pi4") is None
    assert find((here,), "size") is None


@pytest.mark.parametrize(
    ("outcomes", "combined"),
    [
        (("pass", "pass"), "pass"),
        (("pass", "unknown"), "unknown"),
        (("unknown", "fail", "pass"), "fail"),
        ((), "unknown"),
    ],
)
def test_one_verdict_of_many(outcomes, combined):
    parts = [
        Verdict(outcome=o, check="c", reason=f"{o} here", evidence=(piece(),)) for o in outcomes
    ]
    whole = combine(parts)
    assert whole.outcome == combined
    assert len(whole.evidence) == len(outcomes)
    if outcomes:
        assert set(whole.reason.split("; ")) == {f"{o} here" for o in outcomes if o == combined}


def test_a_verdict_is_json():
    verdict = Verdict(outcome="pass", check="c", reason="so", evidence=(piece(),))
    assert json.loads(json.dumps(verdict.to_dict()))["evidence"][0]["what"] == "latency_p95"
    assert str(verdict) == "pass: so"
