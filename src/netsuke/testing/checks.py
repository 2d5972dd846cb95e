"""What every check must hold to."""

import json
from dataclasses import replace

import pytest

from netsuke.core.budget import KINDS, Budget
from netsuke.core.check import Check
from netsuke.core.evidence import Evidence
from netsuke.core.verdict import Verdict


class CheckConformance:
    """Give the fixture ``plugin``: a check. Give ``good`` and ``budget`` too where the check rests on
    other evidence than the limits, the parity and a step's."""

    @pytest.fixture
    def plugin(self) -> Check:
        raise NotImplementedError("give the fixture plugin: the check to test")

    @pytest.fixture
    def budget(self) -> Budget:
        return Budget(**dict.fromkeys(KINDS, 0.5))

    @pytest.fixture
    def good(self) -> tuple[Evidence, ...]:
        """Evidence that should pass, on the device "pi4"."""
        found = [_evidence(what, 0.1, 0.05, 0.2) for what in KINDS]
        found += [_evidence("agreement", 1.0, None, None)]
        found += [_evidence("step_speedup", 2.0, 1.9, 2.1), _evidence("step_size", 2.0, None, None)]
        here = [replace(e, device="local", source="measured") for e in found]
        return (*found, *(e for e in here if e.what in ("drop", "agreement", "step_size")))

    def test_good_evidence_passes(
        self, plugin: Check, good: tuple[Evidence, ...], budget: Budget
    ) -> None:
        verdicts = plugin.judge(good, budget, "pi4")
        assert verdicts
        assert {v.outcome for v in verdicts} == {"pass"}

    def test_missing_evidence_never_passes(self, plugin: Check, budget: Budget) -> None:
        assert "pass" not in {v.outcome for v in plugin.judge((), budget, "pi4")}

    def test_no_evidence_may_go_missing_and_still_pass(
        self, plugin: Check, good: tuple[Evidence, ...], budget: Budget
    ) -> None:
        verdicts = plugin.judge(good, budget, "pi4")
        for what in {e.what for v in verdicts for e in v.evidence}:
            rest = tuple(e for e in good if e.what != what)
            assert _passing(plugin.judge(rest, budget, "pi4")) < _passing(verdicts), what

    def test_another_devices_figures_do_not_count(
        self, plugin: Check, good: tuple[Evidence, ...], budget: Budget
    ) -> None:
        elsewhere = tuple(replace(e, device="elsewhere") for e in good)
        assert "pass" not in {v.outcome for v in plugin.judge(elsewhere, budget, "pi4")}

    def test_it_is_pure(self, plugin: Check, good: tuple[Evidence, ...], budget: Budget) -> None:
        first = plugin.judge(good, budget, "pi4")
        assert first == type(plugin)().judge(good, budget, "pi4")
        assert first == plugin.judge(good, budget, "pi4")

    def test_verdicts_rest_on_evidence_that_was_given(
        self, plugin: Check, good: tuple[Evidence, ...], budget: Budget
    ) -> None:
        for verdict in plugin.judge(good, budget, "pi4"):
            assert set(verdict.evidence) <= set(good)
            assert verdict.check == plugin.name

    def test_reasons_are_one_line_and_json(
        self, plugin: Check, good: tuple[Evidence, ...], budget: Budget
    ) -> None:
        for verdict in (*plugin.judge(good, budget, "pi4"), *plugin.judge((), budget, "pi4")):
            assert verdict.reason
            assert "\n" not in verdict.reason
            json.dumps(verdict.to_dict(), allow_nan=False)


def _evidence(what: str, value: float, low: float | None, high: float | None) -> Evidence:
    return Evidence(
        what=what, value=value, unit="", source="estimated", device="pi4", samples=5000,
        low=low, high=high,
    )  # fmt: skip


def _passing(verdicts: tuple[Verdict, ...]) -> int:
    return sum(v.outcome == "pass" for v in verdicts)
