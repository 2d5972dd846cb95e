"""The quantizer against its definition, and encodings."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn

from models import example
from netsuke.core.scheme import Uniform
from netsuke.nets.capture import capture
from netsuke.nets.quantizers.quantizer import (
    QUANTIZE,
    Encoding,
    encode,
    insert,
    quantize,
    quantizers,
    read,
    write,
)

numbers = st.floats(-100, 100, width=32)
scales = st.floats(2.0**-10, 4, width=32)


def whole(scale: float, zero: int) -> tuple[Tensor, Tensor]:
    return torch.tensor(scale), torch.tensor(zero, dtype=torch.int32)


@given(st.lists(numbers, min_size=1, max_size=20), scales, st.integers(0, 255), st.booleans())
@settings(deadline=None)
def test_it_rounds_as_its_definition_says(
    values: list[float], scale: float, zero: int, double: bool
) -> None:
    kind = np.float64 if double else np.float32
    x = np.array(values, kind)
    levels = np.clip(np.rint(x / kind(scale)) + zero, 0, 255)
    found = quantize(torch.from_numpy(x), *whole(scale, zero), 0, 255, -1)
    np.testing.assert_array_equal(found.numpy(), (levels - zero) * kind(scale))
    assert found.dtype == (torch.float64 if double else torch.float32)


@given(st.integers(0, 255), scales, st.lists(numbers, min_size=1, max_size=20))
@settings(deadline=None)
def test_signed_and_unsigned_integers_are_a_shift_of_the_zero_point(
    zero: int, scale: float, values: list[float]
) -> None:
    x = torch.tensor(values)
    unsigned = quantize(x, *whole(scale, zero), 0, 255, -1)
    assert torch.equal(unsigned, quantize(x, *whole(scale, zero - 128), -128, 127, -1))


@given(st.lists(scales, min_size=3, max_size=3), st.integers(0, 2))
@settings(deadline=None)
def test_each_index_of_its_axis_has_a_scale_of_its_own(steps: list[float], axis: int) -> None:
    x = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(0))
    zero = torch.zeros(3, dtype=torch.int32)
    found = quantize(x, torch.tensor(steps), zero, -127, 127, axis)
    for i, step in enumerate(steps):
        alone = quantize(x.select(axis, i), *whole(step, 0), -127, 127, -1)
        assert torch.equal(found.select(axis, i), alone)


def test_what_is_on_the_grid_stays() -> None:
    once = quantize(torch.randn(100), *whole(0.05, 100), 0, 255, -1)
    assert torch.equal(once, quantize(once, *whole(0.05, 100), 0, 255, -1))


def test_the_gradient_passes_inside_the_range_only() -> None:
    x = torch.tensor([-1.01, -0.9, 0.3, 1.5, 1.56], requires_grad=True)
    quantize(x, *whole(0.01, 100), 0, 255, -1).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 1, 0]


def test_it_is_a_well_behaved_operation_of_torch() -> None:
    x = torch.randn(4, 5, requires_grad=True)
    per_row = (torch.rand(4) + 0.01, torch.zeros(4, dtype=torch.int32))
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    for arguments in ((x, *whole(0.1, 3), 0, 255, -1), (x, *per_row, -127, 127, 0)):
        torch.library.opcheck(QUANTIZE, arguments, test_utils=checks)


@given(numbers, numbers, st.integers(2, 8), st.booleans())
@settings(deadline=None)
def test_an_encoding_holds_zero_and_reaches_both_ends(
    a: float, b: float, bits: int, symmetric: bool
) -> None:
    scheme = Uniform(bits=bits, symmetric=symmetric)
    low, high = torch.tensor(min(a, b)), torch.tensor(max(a, b))
    made = encode(low, high, scheme)
    arguments = (made.scale, made.zero_point, *scheme.limits, -1)
    assert quantize(torch.zeros(1), *arguments).item() == 0
    ends = torch.stack((low.clamp(max=0), high.clamp(min=0)))
    # the zero point is rounded, so that one end may miss by half a step and the other by as much
    off = (quantize(ends, *arguments) - ends).abs().max()
    assert off <= made.scale * 1.01


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_range_of_width_zero_gets_a_scale_of_one(symmetric: bool) -> None:
    made = encode(torch.zeros(2), torch.tensor([0.0, 1e-45]), Uniform(symmetric=symmetric, axis=0))
    assert made.scale.tolist() == [1, 1]
    assert made.zero_point.tolist() == [0, 0]


def test_limits() -> None:
    assert Uniform(bits=8).limits == (0, 255)
    assert Uniform(bits=4, symmetric=True).limits == (-7, 7)


@pytest.fixture
def network() -> fx.GraphModule:
    made: fx.GraphModule = capture(nn.Sequential(nn.Linear(4, 3)), (torch.randn(2, 4),)).network
    return made


def test_quantizers_of_one_key_share_an_encoding(network: fx.GraphModule) -> None:
    first = next(n for n in network.graph.nodes if n.op == "placeholder")
    write(network, "ends", Encoding(*whole(0.5, 7)))
    last = insert(network, insert(network, first, "ends", Uniform()), "ends", Uniform(bits=4))
    found = list(quantizers(network))
    assert [(q.key, q.bits, q.constant) for q in found] == [("ends", 8, False), ("ends", 4, False)]
    assert found[0].source is first
    assert found[1].node is last
    write(network, "ends", Encoding(*whole(0.25, 9)))
    assert read(network, "ends").scale == 0.25
    assert {"quantizers.ends.scale", "quantizers.ends.zero_point"} < set(network.state_dict())


def test_simulation_in_float64_keeps_the_encodings() -> None:
    module, inputs = example("mlp")
    network = capture(module, inputs).network
    write(network, "x", Encoding(*whole(0.1, 3)))
    assert read(network.double(), "x").zero_point.dtype == torch.int32
    assert read(network, "x").scale == torch.tensor(0.1).double()
