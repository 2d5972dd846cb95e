"""Ranges and encodings from calibration data."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from models import example
from netsuke.core.errors import NetsukeError
from netsuke.core.scheme import Uniform
from netsuke.nets.capture import capture
from netsuke.nets.quantizers.calibrate import calibrate, encode_weight
from netsuke.nets.quantizers.place import place
from netsuke.nets.quantizers.quantizer import (
    BIAS_LIMIT,
    QUANTIZE,
    Quantizer,
    encode,
    quantize,
    quantizers,
    read,
)
from netsuke.nets.quantizers.ranges import BINS, Estimator, Histogram, Ranges

ESTIMATORS: tuple[Estimator, ...] = ("minmax", "average", "percentile", "mse")


def seen(*batches: Tensor) -> Histogram:
    histogram = Histogram()
    for batch in batches:
        histogram.add(batch)
    return histogram


def normal(count: int = 20_000, seed: int = 0) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


def test_a_histogram_counts_everything_however_far_it_reaches() -> None:
    histogram = seen(normal(), 100 * normal(seed=1), torch.zeros(7))
    assert histogram.counts.sum() == 40_007
    assert len(histogram.counts) == 2 * BINS + 1
    assert BINS * histogram.width >= -histogram.low
    values = torch.cat((normal(), 100 * normal(seed=1)))
    mean = float(histogram.counts @ histogram.centres) / 40_007
    assert mean == pytest.approx(float(values.sum()) / 40_007, abs=histogram.width)


def test_zeros_are_counted_as_zero() -> None:
    histogram = seen(torch.tensor([0.0] * 1000 + [0.3]), torch.tensor([40.0]))
    assert histogram.counts[BINS] == 1000


def test_what_each_estimator_estimates() -> None:
    histogram = seen(torch.tensor([-1.0, 2.0]), torch.tensor([-3.0, 4.0]))
    assert Ranges("minmax").of(histogram, Uniform()) == (-3, 4)
    assert Ranges("average").of(histogram, Uniform()) == (-2, 3)
    tails = seen(torch.cat((normal(), torch.tensor([-50.0, 80.0]))))
    low, high = Ranges("percentile", 99).of(tails, Uniform())
    assert (low, high) == (pytest.approx(-2.33, abs=0.15), pytest.approx(2.33, abs=0.15))


def test_mse_finds_the_range_with_the_least_error() -> None:
    values = torch.cat((normal(50_000), torch.tensor([9.0])))
    for bits in (3, 4, 8):
        scheme = Uniform(bits=bits)
        low, high = Ranges("mse").of(seen(values), scheme)
        found = _error(values, low, high, scheme)
        assert all(
            found <= 1.03 * _error(values, float(values.min()) * s, float(values.max()) * t, scheme)
            for s in (0.3, 0.5, 0.7, 1.0)
            for t in (0.2, 0.3, 0.4, 0.6, 1.0)
        )


def _error(values: Tensor, low: float, high: float, scheme: Uniform) -> float:
    made = encode(torch.tensor(low), torch.tensor(high), scheme)
    rounded = quantize(values, made.scale, made.zero_point, *scheme.limits, -1)
    return float((rounded - values).square().mean())


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_order_of_batches_does_not_matter(estimator: Estimator) -> None:
    batches = [normal(999, i) * (i + 1) for i in range(4)]
    forth = Ranges(estimator).of(seen(*batches), Uniform())
    back = Ranges(estimator).of(seen(*batches[::-1]), Uniform())
    assert forth == pytest.approx(back, rel=0.02)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_one_far_outlier_leaves_a_range_that_can_be_encoded(estimator: Estimator) -> None:
    low, high = Ranges(estimator).of(seen(torch.cat((normal(), torch.tensor([1e6])))), Uniform())
    assert low <= 0 < high <= 1e6


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_weights_of_few_bits_are_clipped_where_it_pays(bits: int) -> None:
    weight = normal(4000).view(4, 10, 100)
    scheme = Uniform(bits=bits, symmetric=True, axis=0)
    made = encode_weight(weight, scheme)
    plain = encode(-weight.abs().amax((1, 2)), weight.abs().amax((1, 2)), scheme)
    errors = [
        (quantize(weight, e.scale, e.zero_point, *scheme.limits, 0) - weight).square().sum((1, 2))
        for e in (made, plain)
    ]
    assert (errors[0] < errors[1]).all()


def test_eight_bit_weights_reach_their_extremes() -> None:
    weight = torch.tensor([[1.0, -12.7], [0.0, 0.0]])
    made = encode_weight(weight, Uniform(symmetric=True, axis=0))
    assert made.scale.tolist() == [pytest.approx(0.1), 1.0]


def prepared(module: nn.Module, inputs: Tensor) -> GraphModule:
    model = capture(module, (inputs,))
    return place(model.network, model.example)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", ["resnet", "encoder"])
def test_a_calibrated_network_computes_nearly_the_same(name: str, estimator: Estimator) -> None:
    module, (x,) = example(name)
    network = prepared(module, x)
    calibrate(network, [(x,)], Ranges(estimator))
    with torch.no_grad():
        off = (network.eval()(x) - module(x)).abs().max() / module(x).abs().max()
    assert 0 < off < 0.05


def test_biases_lie_on_the_grid_of_the_sums_they_join() -> None:
    module, (x,) = example("mlp")
    network = prepared(module, x)
    calibrate(network, [(x,)])
    keys = {q.key: q for q in quantizers(network)}
    for key in (k for k in keys if k.endswith("_bias")):
        weights = read(network, key.replace("_bias", "_weight")).scale
        (user,) = keys[key].node.users
        before = user.args[0]
        while before.target is not QUANTIZE:  # dropout stands between
            before = before.args[0]
        inputs = Quantizer.of(before)
        expected = weights.double() * read(network, inputs.key).scale.double()
        torch.testing.assert_close(read(network, key).scale.double(), expected)


def test_a_bias_too_large_for_its_weights_coarsens_them() -> None:
    layer = nn.Linear(4, 2)
    with torch.no_grad():
        layer.weight.fill_(1e-12)
        layer.bias.copy_(torch.tensor([1.0, 0.0]))
    network = prepared(layer, torch.randn(2, 4))
    calibrate(network, [(torch.randn(8, 4),)])
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(torch.zeros(1, 4)), torch.tensor([[1.0, 0.0]]))
    scale = read(network, "linear_bias").scale
    assert 1 / scale[0] <= BIAS_LIMIT


def test_constant_data_gets_a_grid_it_fits() -> None:
    module, (x,) = example("mlp")
    for value in (0.0, 0.7):
        network = prepared(module, x)
        given = torch.full((8, 16), value)
        calibrate(network, [(given,)])
        with torch.no_grad():
            found, wanted = network.eval()(given), module(given)
        assert torch.isfinite(found).all()
        torch.testing.assert_close(found, wanted, atol=0.02, rtol=0)


def test_an_empty_set_is_an_error() -> None:
    module, (x,) = example("mlp")
    with pytest.raises(NetsukeError, match="there are no samples"):
        calibrate(prepared(module, x), [])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_broken_values_are_an_error_that_names_the_place(value: float) -> None:
    module, (x,) = example("mlp")
    x = x.clone()
    x[1, 3] = value
    with pytest.raises(NetsukeError, match="NaN or infinite values at .*"):
        calibrate(prepared(module, x), [(x,)])


def test_the_mode_is_put_back() -> None:
    module, (x,) = example("mlp")
    network = prepared(module, x).train()
    calibrate(network, [(x,)])
    assert network.training
