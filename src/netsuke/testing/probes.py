"""What every probe must hold to."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from netsuke.core.data import Stream
from netsuke.core.evidence import Evidence
from netsuke.core.goal import Goal
from netsuke.core.probe import Probe, Subject
from netsuke.testing import samples

UNITS = {"B", "s", "J", "%", "pt", "x", ""}


class ProbeConformance:
    """Give the fixture ``plugin``: a probe. It measures a small classifier beside another one; give
    ``subject`` and ``goal`` where that is nothing the probe can measure."""

    @pytest.fixture
    def plugin(self) -> Probe:
        raise NotImplementedError("give the fixture plugin: the probe to test")

    @pytest.fixture
    def goal(self) -> Goal:
        return samples.goal()

    @pytest.fixture
    def baseline(self, tmp_path: Path) -> Subject:
        return samples.subject(samples.classifier(tmp_path / "before.onnx"))

    @pytest.fixture
    def subject(self, tmp_path: Path) -> Subject:
        artifact = samples.classifier(tmp_path / "after.onnx", width=8, wrong=0.3)
        session = samples.OnnxSession(artifact.path)
        return samples.subject(artifact, simulate=session.run)

    @pytest.fixture
    def found(
        self, plugin: Probe, subject: Subject, baseline: Subject, goal: Goal
    ) -> tuple[Evidence, ...]:
        return plugin.measure(subject, baseline, goal.data.test, goal)

    def test_it_has_a_name(self, plugin: Probe) -> None:
        assert plugin.name.isidentifier()

    def test_it_is_made_without_arguments(self, plugin: Probe) -> None:
        assert isinstance(type(plugin)(), Probe)

    def test_it_finds_something_out_here(self, found: tuple[Evidence, ...]) -> None:
        assert found

    def test_each_figure_is_found_once(self, found: tuple[Evidence, ...]) -> None:
        whats = [e.what for e in found]
        assert len(whats) == len(set(whats))

    def test_figures_are_finite_and_within_their_intervals(
        self, found: tuple[Evidence, ...]
    ) -> None:
        for e in found:
            assert math.isfinite(e.value), e
            assert (e.low is None) == (e.high is None), e
            if e.low is not None and e.high is not None:
                assert e.low <= e.value <= e.high, e

    def test_units_sources_and_counts_are_known(
        self, found: tuple[Evidence, ...], goal: Goal
    ) -> None:
        for e in found:
            assert e.unit in UNITS, e
            assert e.samples >= 1, e
            # Nothing is measured on a device that Netsuke does not run on.
            assert e.device == (goal.device.name if e.source == "estimated" else "local"), e

    def test_evidence_round_trips_through_json(self, found: tuple[Evidence, ...]) -> None:
        for e in found:
            assert Evidence(**json.loads(json.dumps(e.to_dict(), allow_nan=False))) == e

    def test_without_samples_or_simulation_it_does_not_guess(
        self, plugin: Probe, subject: Subject, goal: Goal
    ) -> None:
        alone = replace(subject, simulate=None)
        none: Stream | None = None
        for e in plugin.measure(alone, alone, none, goal):
            assert e.what not in ("quality", "drop", "agreement", "speedup"), e
