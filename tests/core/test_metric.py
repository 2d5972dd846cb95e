"""Metrics against scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from netsuke.core.errors import NetsukeError
from netsuke.core.metric import Metric, metric

RNG = np.random.default_rng(0)
LOGITS, LABELS = RNG.standard_normal((300, 5)), RNG.integers(5, size=300)


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_accuracy_f1_and_top_k_agree_with_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    logits, labels = rng.standard_normal((60, 5)), rng.integers(5, size=60)
    predicted = logits.argmax(1)
    assert metric("accuracy").score(logits, labels) == pytest.approx(
        sk.accuracy_score(labels, predicted)
    )
    assert metric("f1").score(logits, labels) == pytest.approx(
        sk.f1_score(labels, predicted, average="macro")
    )
    assert metric("top3").score(logits, labels) == pytest.approx(
        sk.top_k_accuracy_score(labels, logits, k=3, labels=range(5))
    )


@settings(deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1, 2]))
def test_auc_agrees_with_scikit_learn_ties_included(seed, columns):
    rng = np.random.default_rng(seed)
    score = rng.integers(6, size=50).astype(float)
    labels = rng.permutation(np.repeat([0, 1], 25))
    outputs = score[:, None] if columns == 1 else np.stack([np.zeros(50), score], 1)
    assert metric("auc").score(outputs, labels) == pytest.approx(sk.roc_auc_score(labels, score))


def test_regression_metrics_agree_with_scikit_learn():
    outputs, targets = RNG.standard_normal((2, 100, 1))
    assert metric("mae").score(outputs, targets) == pytest.approx(
        sk.mean_absolute_error(targets, outputs)
    )
    assert metric("rmse").score(outputs, targets) == pytest.approx(
        sk.root_mean_squared_error(targets, outputs)
    )


@pytest.mark.parametrize("name", ["accuracy", "top2", "mae"])
def test_the_mean_of_the_scores_per_sample_is_the_score(name):
    m = metric(name)
    outputs = LOGITS if name != "mae" else LOGITS[:, :1]
    each = m.each(outputs, LABELS)
    assert each.shape == (300,)
    assert each.mean() == pytest.approx(m.score(outputs, LABELS))


def test_one_logit_is_a_threshold_at_zero():
    assert metric("accuracy").score(np.array([[2.0], [-1.0], [0.5]]), np.array([1, 0, 0])) == 2 / 3


def test_pixels_are_averaged_within_a_sample():
    logits = np.zeros((1, 2, 1, 4))
    logits[0, 1, 0, :3] = 1
    each = metric("accuracy").each(logits, np.ones((1, 1, 4), int))
    np.testing.assert_allclose(each, [0.75])


def test_drop_is_positive_where_things_got_worse():
    assert metric("accuracy").drop(0.9, 0.88) == pytest.approx(0.02)
    assert metric("mae").drop(2.0, 2.1) == pytest.approx(0.05)


def test_a_users_function_is_a_metric():
    def gain(outputs, targets):
        return float((outputs[:, 0] * targets).sum())

    m = metric(gain)
    assert (m.name, m.unit, m.each, m.higher) == ("gain", "", None, True)
    assert metric(m) is m


@pytest.mark.parametrize("name", ["top", "top0", "topk", "acc"])
def test_an_unknown_name_is_an_error(name):
    with pytest.raises(NetsukeError, match=f"no '{name}'"):
        metric(name)


def test_auc_of_one_class_is_an_error():
    with pytest.raises(NetsukeError, match="one class only"):
        metric("auc").score(LOGITS[:, :1], np.ones(300))


def test_metrics_are_values():
    assert isinstance(metric("accuracy"), Metric)
    assert metric("accuracy") == metric("accuracy")
