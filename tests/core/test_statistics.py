"""Intervals hold what they promise: checked by simulation, and against scipy where it knows them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from netsuke.core import statistics as s
from netsuke.core.errors import NetsukeError
from netsuke.core.metric import metric

TRIALS = 1500


def coverage(intervals, truth: float) -> float:
    return float(np.mean([i.low <= truth <= i.high for i in intervals]))


def before_and_after(rng, count: int, right: float, lost: float, won: float):
    """Scores of 0 and 1: ``lost`` of the right turn wrong, ``won`` of the wrong turn right."""
    before = rng.random(count) < right
    turn = rng.random(count)
    after = np.where(before, turn >= lost, turn < won)
    return before.astype(float), after.astype(float)


@pytest.mark.parametrize(
    ("count", "right", "lost", "won"),
    [
        (50, 0.9, 0.02, 0.0),
        (143, 0.97, 0.01, 0.1),
        (500, 0.8, 0.05, 0.1),
        (2000, 0.88, 0.004, 0.01),
    ],
)
def test_the_paired_interval_of_zeros_and_ones_covers_the_true_drop(count, right, lost, won):
    rng = np.random.default_rng(0)
    truth = right * lost - (1 - right) * won
    found = [s.paired_mean(*before_and_after(rng, count, right, lost, won)) for _ in range(TRIALS)]
    assert coverage(found, truth) >= 0.94


def test_the_paired_interval_is_bonett_and_prices():
    before = np.array([1.0] * 90 + [0.0] * 10)
    after = before.copy()
    after[:6], after[90:92] = 0, 1
    found = s.paired_mean(before, after)
    p, q = 7 / 102, 3 / 102
    half = 1.959964 * np.sqrt((p + q - (p - q) ** 2) / 102)
    assert found == pytest.approx((0.04, p - q - half, p - q + half), abs=1e-6)


def test_pairing_is_what_makes_it_narrow():
    rng = np.random.default_rng(1)
    before, after = before_and_after(rng, 2000, 0.85, 0.01, 0.03)
    paired = s.paired_mean(before, after)
    alone = s.mean(before)
    assert paired.high - paired.low < 0.5 * (alone.high - alone.low)


def test_no_difference_on_few_samples_is_no_proof():
    same = np.ones(50)
    low, high = s.paired_mean(same, same)[1:]
    assert low < -0.03
    assert high > 0.03


def test_other_scores_take_students_interval():
    rng = np.random.default_rng(2)
    before, after = rng.random((2, 40))
    found = s.paired_mean(before, after)
    expected = stats.ttest_rel(before, after).confidence_interval(0.95)
    assert found[1:] == pytest.approx((expected.low, expected.high), rel=1e-3)


@pytest.mark.parametrize(("hits", "count"), [(0, 20), (19, 20), (881, 1000)])
def test_the_interval_of_a_share_is_wilsons(hits, count):
    scores = np.array([1.0] * hits + [0.0] * (count - hits))
    expected = stats.binomtest(hits, count).proportion_ci(method="wilson")
    found = s.mean(scores)
    assert found == pytest.approx((hits / count, expected.low, expected.high), abs=1e-9)
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize("freedom", [4, 5, 10, 100])
def test_students_quantile_agrees_with_scipy(freedom):
    assert s.t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-3)


@pytest.mark.parametrize("count", [6, 9, 15, 40])
def test_the_interval_of_a_median_covers_it_for_any_distribution(count):
    rng = np.random.default_rng(3)
    found = [s.median(rng.lognormal(size=count)) for _ in range(TRIALS)]
    assert coverage(found, 1.0) >= 0.94


def test_one_disturbed_sitting_of_nine_does_not_move_a_median():
    quiet = [2.20, 2.21, 2.19, 2.22, 2.20, 2.18, 2.21, 2.20]
    assert s.median([*quiet, 0.3]).low >= 2.18
    assert s.median([*quiet, 9.9]).high <= 2.22


def test_five_values_allow_no_interval_of_a_median():
    assert s.median([1, 2, 3, 4, 5]) == (3, None, None)


def test_the_interval_of_a_quantile_knows_that_neighbours_resemble_each_other():
    rng = np.random.default_rng(4)
    found, naive = [], []
    for _ in range(50):
        groups = [rng.normal(1 + rng.normal(0, 0.1), 0.01, 20) for _ in range(15)]
        found.append(s.quantile(groups, 0.5))
        naive.append(s.median(list(np.concatenate(groups))))
    assert coverage(found, 1.0) >= 0.85
    assert coverage(naive, 1.0) < 0.6


def test_a_quantile_of_one_group_has_no_interval():
    assert s.quantile([np.arange(101.0)], 0.95) == (95, None, None)


def labelled(rng, count: int):
    """Scores of two classes, before and (noisier) after."""
    labels = rng.integers(2, size=count)
    logits = rng.standard_normal((count, 1)) + 1.5 * labels[:, None] - 0.75
    return logits, logits + 0.7 * rng.standard_normal((count, 1)), labels


@pytest.mark.parametrize("name", ["auc", "f1"])
def test_the_bootstrap_covers_the_true_drop_of_a_metric_that_is_no_mean(name, monkeypatch):
    monkeypatch.setattr(s, "RESAMPLES", 200)
    m, rng = metric(name), np.random.default_rng(11)
    big = labelled(rng, 200_000)
    truth = m.drop(m.score(big[0], big[2]), m.score(big[1], big[2]))
    found = []
    for seed in range(60):
        before, after, labels = labelled(rng, 250)
        found.append(s.compare(m, before, after, labels, seed).drop)
    assert coverage(found, truth) >= 0.85


def test_the_drop_of_an_error_is_relative_and_bootstrapped():
    rng = np.random.default_rng(6)
    before = rng.random(400)
    found = s.compare(metric("mae"), before, before * 1.1, rng.random(400), seed=0)
    assert found.drop.value == pytest.approx(0.1)
    assert found.drop.low == pytest.approx(0.1, abs=1e-9)
    assert found.before.low < found.before.value < found.before.high


def test_a_lower_error_is_a_negative_drop_for_errors_that_are_fractions():
    rng = np.random.default_rng(7)
    before, after, targets = rng.standard_normal((3, 100, 1))
    m = metric("rmse")
    found = s.compare(m, before, after, targets, seed=0)
    expected = m.score(after, targets) / m.score(before, targets) - 1
    assert found.drop.value == pytest.approx(expected)


def test_the_bootstrap_repeats_with_its_seed():
    before, after, labels = labelled(np.random.default_rng(8), 100)
    m = metric("auc")
    assert s.compare(m, before, after, labels, 3) == s.compare(m, before, after, labels, 3)
    assert s.compare(m, before, after, labels, 3) != s.compare(m, before, after, labels, 4)


def test_resamples_that_have_no_figure_are_passed_over():
    before, after, labels = labelled(np.random.default_rng(9), 4)
    labels[:] = [0, 1, 1, 1]
    found = s.compare(metric("auc"), before, after, labels, 0)
    assert found.drop.low is not None
    with pytest.raises(NetsukeError, match="one class only"):
        s.compare(metric("auc"), before, after, np.ones(4), 0)


def test_a_bootstrap_of_samples_that_all_agree_is_not_certain():
    labels = np.tile([0, 1], 10)
    logits = 2.0 * labels[:, None] - 1
    drop = s.compare(metric("f1"), logits, logits, labels, 0).drop
    assert drop.value == 0
    assert drop.low < -0.1
    assert drop.high > 0.1


def test_one_sample_allows_no_interval():
    one = np.ones(1)
    assert s.mean(one) == (1, None, None)
    assert s.paired_mean(one, one) == (0, None, None)


def test_scores_of_other_lengths_are_not_pairs():
    with pytest.raises(ValueError, match="differ in length: 2 and 3"):
        s.paired_mean(np.ones(2), np.ones(3))


@settings(max_examples=30, deadline=None)
@given(st.integers(100, 1000), st.floats(0.01, 0.05), st.integers(0, 100))
def test_with_the_samples_it_asked_for_the_interval_would_settle(count, limit, seed):
    rng = np.random.default_rng(seed)
    found = s.paired_mean(*before_and_after(rng, count, 0.9, 0.03, 0.05))
    more = s.samples_needed(found, limit, count)
    if more is None:
        assert found.value == limit
        return
    shrink = np.sqrt(count / (count + more))
    low = found.value - (found.value - found.low) * shrink
    high = found.value + (found.high - found.value) * shrink
    assert high <= limit + 1e-6 or low >= limit - 1e-6


def test_a_settled_interval_needs_none_and_one_on_the_limit_never_settles():
    assert s.samples_needed(s.Interval(0.001, -0.001, 0.003), 0.01, 1000) == 0
    assert s.samples_needed(s.Interval(0.01, 0.0, 0.02), 0.01, 1000) is None
    assert s.samples_needed(s.Interval(0.005, None, None), 0.01, 1) is None
    assert s.samples_needed(s.Interval(0.005, -0.005, 0.015), 0.01, 1000) == 3000
