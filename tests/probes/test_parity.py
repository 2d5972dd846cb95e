"""Simulated against executed."""

from dataclasses import replace

import numpy as np
import pytest

from netsuke.core.data import stream
from netsuke.core.errors import NetsukeError
from netsuke.core.evidence import find
from netsuke.core.layer import Layer
from netsuke.core.metric import metric
from netsuke.probes.parity import Parity
from netsuke.testing import samples


@pytest.fixture(scope="module")
def goal():
    return samples.goal("pi4")


@pytest.fixture
def artifact(tmp_path):
    return samples.classifier(tmp_path / "a.onnx")


def simulator(artifact, change=lambda y: y, seen=None):
    session = samples.OnnxSession(artifact.path)

    def simulate(inputs):
        (y,) = session.run(inputs)
        if seen is not None:
            seen.append(len(inputs[0]))
        return (change(y.astype(np.float64)),)

    return simulate


def measure(artifact, goal, simulate, probe=None):
    subject = samples.subject(artifact, simulate)
    return (probe or Parity()).measure(subject, subject, goal.data.test, goal)


def test_what_is_the_same_agrees_wholly(artifact, goal):
    found = measure(artifact, goal, simulator(artifact))
    assert find(found, "agreement").value == 1
    assert find(found, "agreement").samples == 256
    assert find(found, "parity_max").value == 0


def test_each_other_prediction_counts(artifact, goal):
    def turned(y):
        y[0] = -y[0]
        return y

    found = measure(artifact, goal, simulator(artifact, turned))
    # One in each of the four batches of 64.
    assert find(found, "agreement").value == pytest.approx(1 - 4 / 256)
    assert find(found, "parity_max").value > 1


def test_a_small_shift_of_all_outputs_changes_no_prediction_but_is_measured(artifact, goal):
    found = measure(artifact, goal, simulator(artifact, lambda y: y + 0.25))
    assert find(found, "agreement").value == 1
    assert find(found, "parity_max").value == pytest.approx(0.25)


@pytest.mark.parametrize(("shift", "agrees"), [(1e-4, 1.0), (10.0, 0.0)])
def test_outputs_that_are_no_classes_agree_within_a_share_of_their_spread(
    artifact, goal, shift, agrees
):
    regression = replace(goal, data=replace(goal.data, metric=metric("mae")))
    found = measure(artifact, regression, simulator(artifact, lambda y: y + shift))
    assert find(found, "agreement").value == agrees


def test_no_more_samples_are_simulated_than_asked_for(artifact, goal):
    seen = []
    measure(artifact, goal, simulator(artifact, seen=seen), Parity(samples=100))
    assert sum(seen) == 100


@pytest.mark.parametrize(("macs", "simulated"), [(10**6, 256), (2 * 10**9, 200), (10**12, 100)])
def test_of_a_large_model_fewer_are_simulated(artifact, goal, macs, simulated):
    large = replace(artifact, layers=(Layer(name="a", op="linear", macs=macs),))
    found = measure(large, goal, simulator(artifact))
    assert find(found, "agreement").samples == simulated


def test_where_outputs_depend_on_the_batch_each_sample_is_judged_alone(artifact, goal):
    seen = []
    found = measure(replace(artifact, alone=True), goal, simulator(artifact, seen=seen))
    assert seen == [1] * 256
    assert find(found, "agreement").samples == 256


def test_without_a_simulation_or_samples_nothing_is_found(artifact, goal):
    assert measure(artifact, goal, None) == ()
    subject = samples.subject(artifact, simulator(artifact))
    assert Parity().measure(subject, subject, None, goal) == ()


def test_inputs_alone_will_do(artifact, goal):
    subject = samples.subject(artifact, simulator(artifact))
    given = stream(samples.images(70)[0], "calibrate", labelled=False)
    assert find(Parity().measure(subject, subject, given, goal), "agreement").samples == 70


def test_outputs_of_another_shape_are_an_error(artifact, goal):
    with pytest.raises(NetsukeError, match=r"\(256, 4\), the simulation's \(256, 3\)"):
        measure(artifact, goal, simulator(artifact, lambda y: y[:, :3]))
