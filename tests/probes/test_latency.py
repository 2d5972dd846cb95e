"""Times: beside the baseline, in turns, refused when they would tell of the machine."""

import os
import time
from dataclasses import replace

import numpy as np
import pytest

from netsuke.core.evidence import find
from netsuke.core.probe import Subject
from netsuke.probes import _rounds
from netsuke.probes._core import pinned, speed, switches
from netsuke.probes._rounds import Block, Round, ratio, undisturbed
from netsuke.probes.latency import Latency
from netsuke.testing import samples

QUICK = Latency(seconds=0.6)


class Busy:
    """A session whose call takes the processor so long."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def run(self, inputs):
        end = time.process_time_ns() + self.seconds * 1e9
        while time.process_time_ns() < end:
            pass
        return inputs


class Waiting(Busy):
    """A session whose call waits so long."""

    def run(self, inputs):
        time.sleep(self.seconds)
        return inputs


@pytest.fixture(scope="module")
def goal():
    return samples.goal("pi4")


@pytest.fixture
def file(tmp_path) -> Subject:
    return samples.subject(samples.classifier(tmp_path / "a.onnx"))


def taking(file: Subject, seconds: float, kind=Busy) -> Subject:
    artifact = replace(file.artifact, sha256=f"{kind.__name__} {seconds}")
    return replace(file, artifact=artifact, open=lambda threads: kind(seconds))


def test_the_ratio_is_that_of_the_cpu_times(file, goal):
    found = QUICK.measure(taking(file, 1e-3), taking(file, 2e-3), None, goal)
    ratio = find(found, "speedup")
    assert ratio.value == pytest.approx(2, rel=0.1)
    assert ratio.low <= ratio.value <= ratio.high
    assert find(found, "cpu_p50").value == pytest.approx(1e-3, rel=0.2)


def test_two_copies_of_one_model_are_about_as_fast(tmp_path, goal):
    one = samples.subject(samples.classifier(tmp_path / "a.onnx", width=32))
    artifact = replace(one.artifact, sha256="another")
    other = samples.subject(artifact)
    ratio = find(Latency(seconds=1.5).measure(one, other, None, goal), "speedup")
    assert ratio.value == pytest.approx(1, rel=0.1)


def test_a_baseline_has_no_speedup_over_itself(file, goal):
    found = QUICK.measure(file, file, goal.data.test, goal)
    assert find(found, "speedup") is None
    assert find(found, "cpu_p50").value > 0
    assert all(e.device == "local" and e.source == "measured" for e in found)


def test_a_slow_model_still_gets_its_six_sittings(file, goal):
    start = time.perf_counter()
    found = Latency(seconds=0.1).measure(taking(file, 0.01), taking(file, 0.02), None, goal)
    assert find(found, "speedup").samples >= 6
    assert find(found, "speedup").value == pytest.approx(2, rel=0.15)
    assert time.perf_counter() - start < 20


def test_waiting_is_no_cpu_time(file, goal):
    found = QUICK.measure(taking(file, 3e-3, Waiting), taking(file, 3e-3, Busy), None, goal)
    assert find(found, "cpu_p50").value < 1e-3
    assert find(found, "speedup").value > 3


def test_a_real_sample_is_what_is_run(file, goal):
    seen = []

    class Looking:
        def run(self, inputs):
            seen.append(inputs[0])
            return inputs

    looking = replace(file, open=lambda threads: Looking())
    QUICK.measure(looking, file, goal.data.test, goal)
    first = next(goal.data.test.batches(1)).inputs[0]
    np.testing.assert_array_equal(seen[0], first)


def test_this_thread_is_kept_on_one_core_for_a_while():
    before = os.sched_getaffinity(0)
    with pinned():
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before
    with pytest.raises(RuntimeError), pinned():
        raise RuntimeError
    assert os.sched_getaffinity(0) == before


def test_the_core_tells_its_speed_and_its_switches():
    assert 1e5 < speed() < 1e9
    before = switches()
    assert before is None or switches() >= before


def block(cpu: float, alone: bool = True) -> Block:
    return Block(np.full((4, 2), cpu), alone)


def test_rounds_are_left_out_by_what_happened_never_by_their_times():
    kept = Round(block(9.0), block(1.0), 1e7)
    slow_core = Round(block(1.0), block(1.0), 0.5e7)
    sent_off = Round(block(1.0, alone=False), block(1.0), 1e7)
    other = Round(block(1.0), block(1.0, alone=False), 1e7)
    assert undisturbed([[kept, slow_core], [sent_off, other]]) == [[kept], [other]]


def test_the_ratio_is_that_of_the_calls_others_slowed_least():
    quiet, slowed = Round(block(1.0), block(2.0), 1.0), Round(block(3.0), block(2.5), 1.0)
    assert ratio([quiet, slowed, slowed, quiet]) == pytest.approx(2)


def test_on_a_busy_machine_wall_clock_times_are_refused_and_it_says_so(file, goal, monkeypatch):
    counter = iter(range(10**9))
    monkeypatch.setattr(_rounds, "switches", lambda: next(counter))
    found = QUICK.measure(taking(file, 1e-3), taking(file, 2e-3), None, goal)
    assert find(found, "latency_p50") is None
    assert find(found, "latency_p95") is None
    assert "wall-clock latency refused: the machine is too busy" in find(found, "cpu_p50").note
    assert find(found, "speedup").value == pytest.approx(2, rel=0.1)


@pytest.mark.skipif(switches() is None, reason="the system does not count switches")
def test_on_a_quiet_machine_wall_clock_is_close_to_cpu_time(file, goal):
    found = QUICK.measure(taking(file, 1e-3), taking(file, 1e-3), None, goal)
    wall = find(found, "latency_p50")
    if wall is None:
        assert "refused" in find(found, "cpu_p50").note
        return
    assert wall.value == pytest.approx(find(found, "cpu_p50").value, rel=0.1)
    assert find(found, "latency_p95").value >= wall.value
