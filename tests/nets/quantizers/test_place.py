"""Where quantizers stand."""

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional as F

from models import example
from netsuke.core.scheme import Uniform
from netsuke.nets.capture import capture
from netsuke.nets.graph import op
from netsuke.nets.quantizers.place import Plan, is_quantized, left_float, place
from netsuke.nets.quantizers.quantizer import quantizers


def placed(module: nn.Module, *inputs: Tensor) -> GraphModule:
    model = capture(module.eval(), inputs)
    return place(model.network, model.example)


def behind(network: GraphModule) -> list[str]:
    """What the quantizers of activations stand behind, in order."""
    return [op(q.source) or "input" for q in quantizers(network) if not q.constant]


IMAGE = torch.randn(2, 3, 8, 8)


def test_resnet_20_is_quantized_at_the_ends_of_fused_operations() -> None:
    module, inputs = example("resnet")
    network = placed(module, *inputs)
    constants = [q for q in quantizers(network) if q.constant]
    assert sum(q.axis == 0 and q.limits == (-127, 127) for q in constants) == 20
    assert sum(q.bits == 32 for q in constants) == 20
    # input; first convolution; per block a convolution with and one without ReLU, and the sum; mean
    block = ["relu", "conv2d", "relu"]
    assert sorted(behind(network)) == sorted(["input", "relu", *block * 9, "mean"])
    assert left_float(network) == ()


def test_no_quantizer_stands_between_a_convolution_and_its_activation() -> None:
    network = placed(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU6()), IMAGE)
    assert behind(network) == ["input", "hardtanh"]


def test_the_original_is_untouched_and_names_are_kept() -> None:
    module, inputs = example("resnet")
    model = capture(module, inputs)
    before = set(model.network.state_dict())
    network = place(model.network, model.example)
    assert set(model.network.state_dict()) == before
    assert not is_quantized(model.network)
    assert is_quantized(network)
    kept = {k for k in network.state_dict() if not k.startswith("quantizers.")}
    assert {k for k in before if "conv" in k or "linear" in k} <= kept


def test_the_last_output_stays_float() -> None:
    network = placed(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(2, 4))
    assert behind(network) == ["input", "relu"]
    (end,) = (n for n in network.graph.nodes if n.op == "output")
    assert op(end.args[0]) == "linear"


def test_what_only_moves_is_not_quantized_again() -> None:
    class Moves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(6, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = F.max_pool2d(F.relu(self.first(x)), 2)[:, :, ::2]
            y = F.pad(y, (0, 0, 0, 0, 1, 1)).permute(0, 1, 3, 2)
            return self.last(y.reshape(y.shape[0], 6, -1, 1)).flatten(1)

    assert behind(placed(Moves(), IMAGE)) == ["input", "relu", "conv2d"]


def test_a_concatenation_has_one_encoding() -> None:
    class Cat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(8, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(torch.cat((F.relu(self.a(x)), self.b(x)), 1))

    network = placed(Cat(), IMAGE)
    keys = [q.key for q in quantizers(network) if not q.constant]
    assert behind(network) == ["input", "relu", "conv2d", "conv2d"]
    assert keys[1] == keys[2]
    assert len(set(keys)) == 3


def test_a_concatenation_that_floats_read_leaves_its_parts_alone() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Parameter(torch.randn(1, 4, 1))
            self.patch, self.norm, self.last = nn.Conv2d(3, 4, 4), nn.LayerNorm(4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.patch(x).flatten(2)
            y = torch.cat((self.first.expand(x.shape[0], -1, -1), y), 2).transpose(1, 2)
            return self.last(self.norm(y))

    network = placed(Tokens(), IMAGE)
    assert behind(network) == ["input", "conv2d", "layer_norm"]
    assert not any("first" in q.key for q in quantizers(network))


def test_silu_is_a_product_of_integers() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.SiLU(), nn.Conv2d(4, 4, 1))
    network = placed(module, IMAGE)
    assert behind(network) == ["input", "conv2d", "sigmoid", "mul", "conv2d"]


def test_an_activation_that_cannot_fuse_shares_the_encoding_of_its_input() -> None:
    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            return self.b(F.relu(y)) + y

    keys = [(q.key, op(q.source)) for q in quantizers(placed(Late(), IMAGE)) if not q.constant]
    assert [k for k, o in keys if o == "relu"] == [k for k, o in keys if o == "conv2d"][:1]


def test_squeeze_and_excite_multiplies_integers() -> None:
    module, inputs = example("mobilenet")
    network = placed(module, *inputs)
    assert behind(network).count("mul") == 3
    assert behind(network).count("hardsigmoid") == 3
    assert left_float(network) == ()


def test_a_transformer_keeps_its_residual_stream_in_float() -> None:
    module, inputs = example("encoder")
    network = placed(module, *inputs)
    assert "add" not in behind(network)
    assert sum(q.constant and q.bits == 8 for q in quantizers(network)) == 13
    assert [line.split(": ")[1] for line in left_float(network)] == [
        "scaled_dot_product_attention"
    ] * 2
    assert "models.py:" in left_float(network)[0]


class Residual(nn.Module):
    """A product beside the value it reads, as in a transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.dense = nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return y + F.gelu(self.dense(y))


def test_what_computes_in_float_reads_the_float_before_the_quantizer() -> None:
    network = placed(Residual(), torch.randn(2, 5, 8))
    (total,) = (n for n in network.graph.nodes if op(n) == "add")
    (product,) = (n for n in network.graph.nodes if op(n) == "linear")
    assert [op(n) for n in total.all_input_nodes] == ["layer_norm", "gelu"]
    assert op(product.all_input_nodes[0]) == "netsuke.quantize"


def test_pools_that_give_the_output_stay_float() -> None:
    network = placed(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AvgPool2d(2)), IMAGE)
    assert behind(network) == ["input", "relu"]


def test_a_computed_weight_leaves_its_convolution_in_float() -> None:
    class Standardized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))

        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True))

    network = placed(Standardized(), IMAGE)
    assert not is_quantized(network)
    assert [line.split(": ")[1] for line in left_float(network)] == ["conv2d"]


@pytest.mark.parametrize(("bits", "limits"), [(4, (-7, 7)), (2, (-1, 1))])
def test_widths(bits: int, limits: tuple[int, int]) -> None:
    model = capture(*example("mlp"))
    network = place(model.network, model.example, Plan.of(bits, bits))
    found = list(quantizers(network))
    assert {q.limits for q in found if q.constant and q.bits < 32} == {limits}
    assert {q.bits for q in found if not q.constant} == {bits}


def test_a_layer_may_have_schemes_of_its_own() -> None:
    model = capture(*example("mlp"))
    weights = [n.args[1].target for n in model.network.graph.nodes if op(n) == "linear"]
    last = str(weights[-1])
    own = Plan(
        weights=Uniform(bits=4, symmetric=True, axis=0),
        activations=Uniform(bits=4),
        own_weights={last: Uniform(symmetric=True, axis=0)},
        own_inputs={last: Uniform()},
    )
    found = list(quantizers(place(model.network, model.example, own)))
    assert [q.bits for q in found if q.constant and q.bits < 32] == [4] * (len(weights) - 1) + [8]
    assert sorted(q.bits for q in found if not q.constant) == [4] * (len(weights) - 1) + [8]


def test_the_pieces_of_a_chunk_share_the_encoding_of_the_whole() -> None:
    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(4, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            one, other = F.relu(self.first(x)).chunk(2, 1)
            return torch.cat((one[:, :, 1:-1, 1:-1], self.second(other)), 1).mean((2, 3))

    network = placed(Halves(), IMAGE)
    assert behind(network)[:2] == ["input", "relu"]
    assert network(IMAGE).shape == (2, 8)
