"""Bytes, and how good the outputs are."""

from dataclasses import replace

import numpy as np
import pytest

from netsuke.core.data import stream
from netsuke.core.errors import NetsukeError
from netsuke.core.evidence import find
from netsuke.core.goal import Goal
from netsuke.core.metric import metric
from netsuke.probes.quality import Quality
from netsuke.probes.size import Size
from netsuke.testing import samples


@pytest.fixture(scope="module")
def goal() -> Goal:
    return samples.goal("pi4")


@pytest.fixture
def good(tmp_path):
    return samples.subject(samples.classifier(tmp_path / "good.onnx"))


@pytest.fixture
def worse(tmp_path):
    return samples.subject(samples.classifier(tmp_path / "worse.onnx", wrong=1.5))


def with_metric(goal: Goal, name) -> Goal:
    return replace(goal, data=replace(goal.data, metric=metric(name)))


def test_size_is_the_true_bytes_on_disk(good, goal):
    (found,) = Size().measure(good, good, None, goal)
    assert found.value == len(good.artifact.path.read_bytes())
    assert (found.what, found.unit, found.device) == ("size", "B", "local")


def test_quality_is_the_metric_of_the_runtimes_outputs(good, worse, goal):
    x, y = samples.images(256, 2)
    found = Quality().measure(worse, good, goal.data.test, goal)
    hits = [float((s.open(1).run((x,))[0].argmax(1) == y).mean()) for s in (good, worse)]
    quality, drop = find(found, "quality"), find(found, "drop")
    assert quality.value == pytest.approx(hits[1])
    assert drop.value == pytest.approx(hits[0] - hits[1])
    assert drop.value > 0.01
    assert quality.samples == drop.samples == 256
    assert (quality.unit, drop.unit) == ("%", "pt")
    assert drop.low < drop.value < drop.high


def test_the_same_file_lost_nothing_at_all(good, goal):
    drop = find(Quality().measure(good, good, goal.data.test, goal), "drop")
    assert (drop.value, drop.low, drop.high) == (0, 0, 0)


@pytest.mark.parametrize("name", ["f1", "top2"])
def test_other_metrics_have_intervals_too(good, worse, goal, name):
    found = Quality().measure(worse, good, goal.data.test, with_metric(goal, name))
    quality, drop = find(found, "quality"), find(found, "drop")
    assert quality.low < quality.value < quality.high <= 1
    assert drop.low < drop.value < drop.high


def test_an_error_in_the_datas_own_unit_drops_relative_to_the_originals(good, worse, goal):
    x, _ = samples.images(64, 2)
    wanted = good.open(1).run((x,))[0] + 1
    given = stream((x, wanted), "test")
    found = Quality().measure(worse, good, given, with_metric(goal, "mae"))
    after = np.abs(worse.open(1).run((x,))[0] - wanted).mean()
    assert find(found, "quality").value == pytest.approx(float(after), rel=1e-5)
    assert find(found, "drop").value == pytest.approx(float(after) - 1, rel=1e-3)
    assert "relative" in find(found, "drop").note


def test_the_baseline_is_run_once_for_the_same_samples(good, worse, goal):
    opened = []

    def counting(threads):
        opened.append(threads)
        return good.open(threads)

    before, probe = replace(good, open=counting), Quality()
    found = [probe.measure(worse, before, goal.data.test, goal) for _ in range(2)]
    assert found[0] == found[1]
    assert len(opened) == 1
    probe.measure(worse, before, goal.data.validate, goal)
    assert len(opened) == 2


def test_without_labels_nothing_is_found(good, goal):
    assert Quality().measure(good, good, None, goal) == ()
    calibration = stream(samples.images(8)[0], "calibrate", labelled=False)
    assert Quality().measure(good, good, calibration, goal) == ()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (lambda y: y + 1, r"mine: labels go from 1 to 4, but the outputs are classes 0 … 3"),
        (lambda y: y - 1, r"mine: labels go from -1 to 2"),
        (lambda y: np.eye(4)[y], r"mine: targets of shape \(64, 4\) do not name one class"),
    ],
)
def test_labels_the_outputs_have_no_class_for_are_an_error(good, goal, labels, message):
    x, y = samples.images(256, 2)
    with pytest.raises(NetsukeError, match=message):
        Quality().measure(good, good, stream((x, labels(y)), "mine"), goal)


def test_outputs_that_are_nan_are_an_error_that_counts_them(tmp_path, good, goal):
    broken = samples.classifier(tmp_path / "broken.onnx", wrong=float("nan"))
    with pytest.raises(NetsukeError, match=r"broken.onnx: 64 of 64 outputs are NaN"):
        Quality().measure(samples.subject(broken), good, goal.data.test, goal)


def test_inputs_the_artifact_does_not_take_are_an_error(good, goal):
    x, y = samples.images(8)
    with pytest.raises(NetsukeError, match="test: input 0 has shape"):
        Quality().measure(good, good, stream((x[:, :, :4], y), "test"), goal)


def test_an_artifact_for_single_samples_is_fed_one_by_one(tmp_path, good, goal):
    import onnx

    fixed = onnx.load(good.artifact.path)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(fixed, tmp_path / "single.onnx")
    single = samples.subject(samples.described(tmp_path / "single.onnx"))
    found = Quality().measure(single, good, goal.data.test, goal)
    assert find(found, "drop").value == 0
