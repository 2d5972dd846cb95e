import pytest
import torch
from torch import Tensor, nn

from models import NAMES, Block, captured, example, line_of
from netsuke.core.layer import Layer
from netsuke.core.model import Model
from netsuke.nets.capture import capture
from netsuke.nets.costs import layers, totals


def of(module: nn.Module, *inputs: Tensor) -> tuple[Layer, ...]:
    return layers(capture(module.eval(), inputs))


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_counted_once(name: str) -> None:
    model = captured(name)
    found = layers(model)
    assert totals(found).weights == sum(p.numel() for p in model.network.parameters())
    assert len({layer.name for layer in found}) == len(found)


def test_resnet20() -> None:
    found = {layer.name: layer for layer in layers(captured("resnet"))}
    first = found["layer2.0.conv1"]
    assert first == Layer(
        name="layer2.0.conv1", op="conv2d", shape=(32, 16, 16),
        source=f"models.py:{line_of('self.conv1(x)', Block)}",
        weights=32 * 16 * 9, inputs=16 * 32 * 32, outputs=32 * 16 * 16, alive=(16 * 4 + 32) * 16 * 16,
        macs=32 * 16 * 16 * 16 * 9, channels=(16, 32),
    )  # fmt: skip
    assert found["layer1.0.add"].inputs == 2 * 16 * 32 * 32
    assert found["linear"].macs == 640
    assert totals(found.values()).macs == 40_551_040  # the published 0.04 GMAC


@pytest.mark.parametrize(
    ("module", "inputs", "macs", "channels", "groups"),
    [
        (nn.Conv1d(4, 6, 3), (4, 10), 6 * 8 * 4 * 3, (4, 6), 1),
        (nn.Conv2d(4, 8, 3, groups=2), (4, 6, 6), 8 * 16 * 2 * 9, (4, 8), 2),
        (nn.Conv3d(2, 3, 2), (2, 4, 4, 4), 3 * 27 * 2 * 8, (2, 3), 1),
        (nn.ConvTranspose2d(4, 6, 3, groups=2), (4, 5, 5), 4 * 25 * 3 * 9, (4, 6), 2),
        (nn.Linear(8, 3), (5, 8), 5 * 8 * 3, (8, 3), 1),
        (nn.BatchNorm1d(8), (8,), 0, (0, 0), 1),
        (nn.LSTM(4, 5, batch_first=True), (7, 4), 7 * (20 * 4 + 20 * 5), (0, 0), 1),
    ],
)
def test_macs_by_hand(module, inputs, macs, channels, groups) -> None:
    torch.manual_seed(0)
    (layer,) = of(module, torch.randn(2, *inputs))
    assert (layer.macs, layer.channels, layer.groups) == (macs, channels, groups)
    assert layer.weights == sum(p.numel() for p in module.parameters())


def test_products_of_activations() -> None:
    class Net(nn.Module):
        def forward(self, q: Tensor, k: Tensor) -> Tensor:
            scores = q @ k.transpose(1, 2)
            mixed = torch.einsum("bij,bjd->bid", scores, k)
            return nn.functional.scaled_dot_product_attention(mixed, k, k)

    matmul, einsum, attention = of(Net(), torch.randn(2, 5, 4), torch.randn(2, 7, 4))
    assert matmul.macs == 5 * 7 * 4
    assert einsum.macs == 5 * 7 * 4
    assert attention.macs == 5 * 7 * 4 * 2
    assert attention.inputs == 5 * 4 + 7 * 4
    assert matmul.outputs == 35


def test_moves_and_constants_are_no_layers() -> None:
    found = layers(captured("encoder"))
    assert not {"view", "transpose", "dropout", "sym_size", "mul"} & {x.op for x in found}
    words, positions = found[0], found[1]
    assert (words.op, words.weights, words.macs) == ("embedding", 50 * 32, 0)
    assert (positions.op, positions.weights) == ("add", 12 * 32)  # a table added to the data
    names = [x.name for x in found]
    assert "layers.0.scaled_dot_product_attention" in names
    assert "layers.0.query" in names


def resnet50(stride_in_first: bool) -> Model:
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(num_labels=1000, downsample_in_bottleneck=stride_in_first)
    return capture(ResNetForImageClassification(config).eval(), torch.randn(1, 3, 224, 224))


def test_resnet50_is_168_megabytes() -> None:
    """The widely quoted 26 M weights + 16 M activations; see ``totals`` for what is counted."""
    total = totals(layers(resnet50(stride_in_first=True)))
    assert total.weights == 25_557_032
    assert total.activations == 16_310_248
    assert total.bytes(32) == pytest.approx(168e6, rel=0.005)
    assert total.bytes(8) == total.bytes(32) / 4
    assert total.macs == pytest.approx(3.86e9, rel=0.001)


def test_bits_are_read_from_the_quantizers() -> None:
    from netsuke.nets.quantizers.quantizer import QUANTIZE

    model = capture(*example("mlp"))
    graph = model.network.graph
    first = next(n for n in graph.nodes if n.target is torch.ops.aten.linear.default)
    model.network.register_buffer("scale", torch.tensor(0.1))
    model.network.register_buffer("zero", torch.tensor(0))
    with graph.inserting_before(first):
        scale, zero = (graph.create_node("get_attr", n) for n in ("scale", "zero"))
        data = graph.call_function(QUANTIZE, (first.args[0], scale, zero, 0, 255, -1))
        weight = graph.call_function(QUANTIZE, (first.args[1], scale, zero, -7, 7, -1))
    first.args = (data, weight, *first.args[2:])
    model.network.recompile()
    found = {layer.name: layer for layer in layers(model)}
    assert len(found) == 6
    assert (found["layers.0"].weight_bits, found["layers.0"].activation_bits) == (4, 8)
    assert (found["layers.4"].weight_bits, found["layers.4"].activation_bits) == (32, 32)
    assert found["layers.0"].weights == 16 * 32 + 32
