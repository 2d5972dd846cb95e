"""What quantization does to each layer, and why."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional as F

from netsuke.core.scheme import Uniform
from netsuke.nets.capture import capture
from netsuke.nets.fold import fold_batchnorm
from netsuke.nets.graph import set_tensor, tensors
from netsuke.nets.quantizers.calibrate import calibrate
from netsuke.nets.quantizers.causes import Finding, findings
from netsuke.nets.quantizers.diagnose import Facts, diagnose
from netsuke.nets.quantizers.parts import parts, without
from netsuke.nets.quantizers.place import Plan, place
from netsuke.nets.quantizers.quantizer import Encoding, Quantizer, encode, read, write
from netsuke.nets.quantizers.ranges import Estimator, Ranges

PER_TENSOR = Plan(Uniform(symmetric=True))
STEP: Mapping[str, Any] = {"use": "quantize.static", "estimator": "minmax", "samples": 100}


class Separable(nn.Module):
    """A depthwise network: 1×1, depthwise 3×3, 1×1; 3×8×8 in, 4 logits out."""

    def __init__(self, wide: int = 16) -> None:
        super().__init__()
        self.expand = nn.Conv2d(3, wide, 1)
        self.depthwise = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.project = nn.Conv2d(wide, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.depthwise(torch.relu(self.expand(x))))
        return self.project(y).mean((2, 3))


def separable() -> Separable:
    torch.manual_seed(0)
    return Separable().eval()


def scaled(net: Separable, factors: Tensor) -> Separable:
    """The same function: each depthwise channel times its factor, taken back by the next layer."""
    with torch.no_grad():
        net.depthwise.weight.mul_(factors.view(-1, 1, 1, 1))
        net.depthwise.bias.mul_(factors)  # type: ignore[union-attr]
        net.project.weight.div_(factors.view(1, -1, 1, 1))
    return net


def kl(mine: Tensor, theirs: Tensor) -> Tensor:
    given = F.log_softmax(theirs, 1)
    return F.kl_div(F.log_softmax(mine, 1), given, reduction="batchmean", log_target=True)


def images(count: int, seed: int = 1) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def diagnosed(
    net: nn.Module, plan: Plan, seen: Tensor, estimator: Estimator = "minmax"
) -> dict[str, Facts]:
    """Facts by layer of a network calibrated on ``seen`` and looked at with other samples."""
    model = capture(net, (images(2),))
    network = place(model.network, model.example, plan)
    calibrate(network, [(seen,)], Ranges(estimator))
    if plan is PER_TENSOR:
        one_scale(network)
    floats = dict(tensors(fold_batchnorm(model.network)))
    return {f.name: f for f in diagnose(network, floats, [(images(32, 7),)], kl)}


def one_scale(network: GraphModule) -> None:
    """The weights' encodings by their extremes, one scale each, and biases in 32 bits beside them."""
    for part in parts(network):
        q = part.weight
        if q is None:
            continue
        reach = network.get_parameter(str(q.source.target)).detach().abs().amax()
        made = encode(-reach, reach, Uniform(symmetric=True))
        write(network, q.key, made)
        bias = next(Quantizer.of(n) for n in part.constants if n is not q.node)
        sums = made.scale * read(network, Quantizer.of(part.head.all_input_nodes[0]).key).scale
        count = len(network.get_parameter(str(bias.source.target)))
        zero = torch.zeros(count, dtype=torch.int32)
        write(network, bias.key, Encoding(sums.expand(count), zero))


def causes(facts: Facts, samples: int = 100) -> dict[str, Finding]:
    return {f.cause: f for f in findings(facts, STEP, samples)}


def test_a_good_network_has_no_findings() -> None:
    facts = diagnosed(separable(), Plan(), images(100))
    assert list(facts) == ["input x", "expand", "depthwise", "project"]
    for each in facts.values():
        assert not causes(each)
        assert each.own_sqnr is None or each.own_sqnr > 30


def test_unbalanced_depthwise_ranges_are_named_with_their_remedy() -> None:
    factors = torch.logspace(0, 4, 16)
    plain, unbalanced = separable(), scaled(separable(), factors)
    with torch.no_grad():
        assert torch.allclose(plain(images(4)), unbalanced(images(4)), atol=1e-4)
    balanced = diagnosed(plain, PER_TENSOR, images(100))
    facts = diagnosed(unbalanced, PER_TENSOR, images(100))
    assert facts["depthwise"].harm > 20 * balanced["depthwise"].harm
    assert {f.name for f in facts.values() if f.share > 0.05} == {"depthwise", "project"}
    assert "unbalanced channel ranges" in causes(facts["project"])
    weights, values = findings(facts["depthwise"], STEP, 100)
    assert weights.cause == values.cause == "unbalanced channel ranges"
    assert "one scale a channel" in weights.remedy
    assert "quantize.equalize" in values.remedy
    assert "of 16 channels" in weights.says
    assert not causes(facts["expand"])


def test_per_channel_weights_leave_the_unbalanced_activations_to_blame() -> None:
    facts = diagnosed(scaled(separable(), torch.logspace(0, 4, 16)), Plan(), images(100))
    found = findings(facts["depthwise"], STEP, 100)
    assert [f.cause for f in found] == ["unbalanced channel ranges"]
    assert found[0].remedy == "quantize.equalize before quantizing"


def test_an_outlier_channel_is_named_by_its_number() -> None:
    factors = torch.ones(16)
    factors[5] = 1e6
    facts = diagnosed(scaled(separable(), factors), PER_TENSOR, images(100))
    found = causes(facts["depthwise"])["outlier channel"]
    assert "channel 5 " in found.says
    assert "read channel 5 " in causes(facts["project"])["unbalanced channel ranges"].says


def test_an_ungrouped_layer_with_one_scale_has_the_wrong_granularity() -> None:
    net = separable()
    factors = torch.logspace(0, 3, 16)
    with torch.no_grad():
        net.expand.weight.mul_(factors.view(-1, 1, 1, 1))
        net.expand.bias.mul_(factors)  # type: ignore[union-attr]
        net.depthwise.weight.div_(factors.view(-1, 1, 1, 1))
    facts = diagnosed(net, PER_TENSOR, images(100))
    assert "wrong granularity" in causes(facts["expand"])


def test_too_few_calibration_samples_are_told_from_a_clipping_estimator() -> None:
    facts = diagnosed(separable(), Plan(), 0.3 * images(2))
    assert facts["depthwise"].saturated > 0.01
    few = causes(facts["depthwise"], samples=2)
    assert few["too few calibration samples"].tries == (({**STEP, "samples": 500},),)
    assert "clipped range" in causes(facts["depthwise"], samples=500)


def test_a_layer_that_gives_only_zeros_has_a_dead_range() -> None:
    net = separable()
    with torch.no_grad():
        net.expand.bias.fill_(-100)  # type: ignore[union-attr]
    facts = diagnosed(net, Plan(), images(100))
    assert "nothing but zeros" in causes(facts["expand"])["dead range"].says


def test_a_range_that_one_wild_sample_widened_is_hardly_used() -> None:
    seen = images(100)
    seen[3] *= 1000
    found = causes(diagnosed(separable(), Plan(), seen)["depthwise"])["dead range"]
    assert "encoded range" in found.says
    assert ({**STEP, "estimator": "mse"},) in found.tries


def test_two_bits_without_another_cause_are_too_few() -> None:
    facts = diagnosed(separable(), Plan.of(weights=2), images(100), "mse")
    worst = max(facts.values(), key=lambda f: f.share)
    assert list(causes(worst)) == ["too few bits"]
    (found,) = findings(worst, STEP, 100)
    assert found.tries[0][0]["use"] == "quantize.mixed"
    own = {"use": "quantize.mixed", "limit": 3.0, "rounding": "gptq"}
    (again,) = findings(worst, own, 100)
    assert again.tries == (({**own, "limit": 4.0},),)


def test_own_errors_add_up_to_the_accumulated_one_and_harms_to_one() -> None:
    facts = diagnosed(separable(), Plan(), images(100))
    assert sum(f.share for f in facts.values()) == pytest.approx(1)
    first, last = facts["input x"], facts["project"]
    assert first.sqnr == pytest.approx(first.own_sqnr)
    assert last.sqnr is not None
    assert last.own_sqnr is not None
    assert last.sqnr < last.own_sqnr


def test_own_sqnr_is_that_of_the_layer_alone() -> None:
    """Against the layer computed by hand, on float inputs."""
    net = separable()
    model = capture(net, (images(2),))
    network = place(model.network, model.example, Plan.of(weights=3))
    calibrate(network, [(images(100),)], Ranges("minmax"))
    x = images(16, 7)
    facts = {f.name: f for f in diagnose(network, {}, [(x,)], kl)}
    part = next(p for p in parts(network) if p.head.name == "conv2d_1")
    weight = torch.ops.netsuke.quantize(
        net.depthwise.weight, *_encoding(network, part.weight.key), *part.weight.limits, 0  # type: ignore[union-attr]
    )  # fmt: skip
    with torch.no_grad():
        given = torch.relu(net.expand(x))
        want = torch.relu(net.depthwise(given))
        got = torch.relu(F.conv2d(given, weight, net.depthwise.bias, padding=1, groups=16))
        quantized = torch.ops.netsuke.quantize(
            got, *_encoding(network, part.activation.key), *part.activation.limits, -1  # type: ignore[union-attr]
        )  # fmt: skip
    noise = float((quantized - want).square().sum() / want.square().sum())
    assert facts["depthwise"].own_sqnr == pytest.approx(-10 * math.log10(noise), abs=0.05)


def _encoding(network: Any, key: str) -> tuple[Tensor, Tensor]:
    place = network.get_submodule(f"quantizers.{key}")
    return place.scale, place.zero_point


def test_floats_are_taken_from_before_the_rounding() -> None:
    """A network whose weights lie on the grid already still shows what rounding did to them."""
    model = capture(separable(), (images(2),))
    floats = dict(tensors(fold_batchnorm(model.network)))
    network = place(model.network, model.example, Plan.of(weights=3))
    calibrate(network, [(images(100),)], Ranges("minmax"))
    batch = [(images(16, 7),)]
    before = {f.name: f for f in diagnose(network, floats, batch, kl)}
    for part in parts(network):
        if part.weight:
            q = part.weight
            name = str(q.source.target)
            value = network.get_parameter(name).detach()
            scale, zero = _encoding(network, q.key)
            rounded = torch.ops.netsuke.quantize(value, scale, zero, *q.limits, q.axis)
            set_tensor(network, name, rounded)
    after = {f.name: f for f in diagnose(network, floats, batch, kl)}
    assert after["project"].own_sqnr == pytest.approx(before["project"].own_sqnr, abs=0.1)
    alone = {f.name: f for f in diagnose(network, {}, batch, kl)}
    assert (alone["project"].own_sqnr or 99) > (after["project"].own_sqnr or 99) + 10


def test_a_part_can_be_left_in_float() -> None:
    model = capture(separable(), (images(2),))
    network = place(model.network, model.example, Plan.of(weights=2))
    calibrate(network, [(images(100),)], Ranges("minmax"))
    everything = [f.name for f in diagnose(network, {}, [(images(4),)], kl)]
    free = without(network, everything, {})
    x = images(4, 9)
    with torch.no_grad():
        assert torch.allclose(free.eval()(x), model.network.eval()(x), atol=1e-6)
    some = without(network, ["depthwise"], {})
    assert len(parts(some)) == len(parts(network)) - 1
