"""Ranges: the estimators beside those the calibration tests cover."""

import pytest
import torch
from torch import Tensor

from netsuke.core.scheme import Uniform
from netsuke.nets.quantizers.quantizer import encode, quantize
from netsuke.nets.quantizers.ranges import MOMENTUM, Estimator, Histogram, Ranges


def seen(*batches: Tensor) -> Histogram:
    made = Histogram()
    for batch in batches:
        made.add(batch)
    return made


def normal(count: int) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(0))


def test_a_moving_average_forgets_slowly() -> None:
    batches = [torch.tensor([-1.0, 2.0]), torch.tensor([-3.0, 4.0]), torch.tensor([-5.0, 0.5])]
    low, high = -1.0, 2.0
    for a, b in ((-3.0, 4.0), (-5.0, 0.5)):
        low, high = MOMENTUM * low + (1 - MOMENTUM) * a, MOMENTUM * high + (1 - MOMENTUM) * b
    found = Ranges("moving").of(seen(*batches), Uniform())
    assert found == pytest.approx((low, high))


def test_entropy_clips_a_far_outlier_and_keeps_what_has_none() -> None:
    values = torch.cat((normal(20_000), torch.tensor([100.0])))
    low, high = Ranges("entropy").of(seen(values), Uniform())
    assert high < 20
    assert low <= -3
    even = torch.linspace(-1, 1, 10_001)
    assert Ranges("entropy").of(seen(even), Uniform()) == pytest.approx((-1, 1), abs=0.02)


def test_entropy_is_better_than_the_extremes_where_tails_are_long() -> None:
    values, scheme = normal(20_000) ** 3, Uniform(bits=4)
    errors = []
    for estimator in (Ranges("minmax"), Ranges("entropy")):
        low, high = estimator.of(seen(values), scheme)
        made = encode(torch.tensor(low), torch.tensor(high), scheme)
        found = quantize(values, made.scale, made.zero_point, *scheme.limits, -1)
        errors.append(float((found - values).abs().mean()))
    assert errors[1] < errors[0]


@pytest.mark.parametrize("estimator", ["moving", "entropy"])
@pytest.mark.parametrize("value", [0.0, 3.0, -3.0])
def test_a_constant_has_a_range(estimator: Estimator, value: float) -> None:
    low, high = Ranges(estimator).of(seen(torch.full((9,), value)), Uniform())
    made = encode(torch.tensor(low), torch.tensor(high), Uniform())
    found = quantize(torch.tensor([value]), made.scale, made.zero_point, 0, 255, -1)
    assert found.item() == pytest.approx(value, rel=0.01)
