"""What is exported is what was simulated, fast in form and small."""

import hashlib
import math
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import NAMES, example
from netsuke.core.errors import NetsukeError
from netsuke.core.model import Model
from netsuke.nets import onnx_out
from netsuke.nets.capture import capture
from netsuke.nets.graph import clone
from netsuke.nets.onnx_out import Exported, export_onnx
from netsuke.nets.onnx_out.aten import translate
from netsuke.nets.onnx_out.build import UntranslatedError
from netsuke.nets.onnx_out.lower import lower
from netsuke.nets.quantizers.calibrate import calibrate
from netsuke.nets.quantizers.place import Plan, place


@cache
def captured(name: str) -> Model:
    return capture(*example(name), name)


@cache
def exported(name: str) -> Exported:
    return export_onnx(int8(name))


@cache
def int8(name: str) -> Model:
    return quantized(captured(name))


def quantized(model: Model, plan: Plan | None = None) -> Model:
    network = place(model.network, model.example, plan)
    calibrate(network, [samples(model, 32)])
    return Model(network=network, example=model.example, name=model.name)


def samples(model: Model, count: int) -> tuple[Tensor, ...]:
    chance = torch.Generator().manual_seed(1)
    return tuple(
        torch.randn(count, *x.shape[1:], generator=chance)
        if x.is_floating_point()
        else torch.randint(0, 50, (count, *x.shape[1:]), generator=chance)
        for x in model.example
    )


def executed(content: bytes, inputs: tuple[Tensor, ...]) -> list[np.ndarray]:
    session = _session(content)
    names = [i.name for i in session.get_inputs()]
    found: list[np.ndarray] = session.run(
        None, dict(zip(names, (x.numpy() for x in inputs), strict=True))
    )
    return found


def simulated(model: Model, inputs: tuple[Tensor, ...]) -> np.ndarray:
    """In float64: in float32 some numbers lie on the other side of a rounding's tie."""
    network = clone(model.network).eval().double()
    with torch.no_grad():
        given = network(*(x.double() if x.is_floating_point() else x for x in inputs))
    return np.asarray(given)


def optimized(content: bytes, folder: Path) -> Counter[str]:
    """How many nodes of each kind onnxruntime makes of it."""
    path = folder / "optimized.onnx"
    _session(content, path)
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def _session(content: bytes, optimized: Path | None = None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if optimized:
        options.optimized_model_filepath = str(optimized)
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", NAMES)
def test_a_float_model_gives_what_the_module_gives(name: str) -> None:
    module, _ = example(name)
    model = captured(name)
    for count in (1, 5):
        inputs = samples(model, count)
        (found,) = executed(export_onnx(model).content, inputs)
        with torch.no_grad():
            np.testing.assert_allclose(found, module(*inputs), atol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_an_int8_model_gives_what_was_simulated(name: str) -> None:
    model = int8(name)
    inputs = samples(model, 64)
    (found,) = executed(exported(name).content, inputs)
    expected = simulated(model, inputs)
    assert (found.argmax(1) == expected.argmax(1)).mean() >= 0.98
    # a tie, broken otherwise in float32, is one level of 256 somewhere, seldom
    assert np.abs(found - expected).mean() < 0.005 * expected.std()
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def test_activations_of_few_bits_run_on_integers(tmp_path: Path) -> None:
    """Their limits are clips of integers, behind the quantizer that the operation before fuses with."""
    found = optimized(export_onnx(quantized(captured("resnet"), Plan.of(4, 4))).content, tmp_path)
    assert (found["QLinearConv"], found["QLinearAdd"], found["QGemm"]) == (19, 9, 1)
    assert found["Clip"] == 30


@pytest.mark.parametrize(("weights", "activations"), [(4, 8), (8, 5), (3, 4)])
def test_fewer_bits_give_what_was_simulated(weights: int, activations: int) -> None:
    model = quantized(captured("mlp"), Plan.of(weights, activations))
    inputs = samples(model, 64)
    (found,) = executed(export_onnx(model).content, inputs)
    np.testing.assert_allclose(found, simulated(model, inputs), atol=1e-5)


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("name", ["resnet", "mobilenet", "encoder", "mlp"])
def test_weights_of_few_bits_lie_in_few_and_run_on_the_kernels_of_8(
    name: str, bits: int, tmp_path: Path
) -> None:
    model = quantized(captured(name), Plan.of(bits, 8))
    content, inputs = export_onnx(model).content, samples(model, 16)
    kind = {2: onnx.TensorProto.INT2, 4: onnx.TensorProto.INT4}[bits]
    held = onnx.load_from_string(content).graph.initializer
    few = [math.prod(t.dims) for t in held if t.data_type == kind]
    whole = exported(name).content
    assert len(few) > 1
    assert len(whole) - len(content) > sum(few) * (1 - bits / 8) - 40 * len(few)
    kernels = optimized(content, tmp_path)
    assert kernels == optimized(whole, tmp_path)
    assert (
        np.abs(executed(content, inputs)[0] - simulated(model, inputs)).mean()
        < 0.005 * simulated(model, inputs).std()
    )


def test_all_of_resnet_20_runs_on_integers(tmp_path: Path) -> None:
    found = optimized(exported("resnet").content, tmp_path)
    assert (found["QLinearConv"], found["QLinearAdd"], found["QGemm"]) == (19, 9, 1)
    assert found["QLinearGlobalAveragePool"] == 1
    assert found["QuantizeLinear"] == 1
    assert not {"Conv", "FusedConv", "Add", "Gemm", "Relu", "DequantizeLinear", "Slice"} & set(
        found
    )


def test_depthwise_and_squeeze_and_excite_run_on_integers(tmp_path: Path) -> None:
    found = optimized(exported("mobilenet").content, tmp_path)
    assert (found["QLinearConv"], found["QLinearMul"], found["QGemm"]) == (16, 3, 1)
    assert not {"Conv", "FusedConv", "Gemm", "GlobalAveragePool"} & set(found)


def test_every_linear_of_a_transformer_multiplies_integers(tmp_path: Path) -> None:
    found = optimized(exported("encoder").content, tmp_path)
    assert (found["MatMulIntegerToFloat"], found["QGemm"], found["Gemm"]) == (12, 1, 0)
    # The residuals and the positions: biases are added by the products. Scales alone are dequantized.
    assert found["Add"] == 5
    assert found["DequantizeLinear"] == 12


def test_the_first_convolution_gets_a_fourth_colour_and_subsampling_a_pool() -> None:
    graph = onnx.load_from_string(exported("resnet").content).graph
    shapes = [list(t.dims) for t in graph.initializer if t.data_type == onnx.TensorProto.INT8]
    assert [16, 4, 3, 3] in shapes
    assert [16, 3, 3, 3] not in shapes
    kinds = Counter(node.op_type for node in graph.node)
    assert (kinds["MaxPool"], kinds["Pad"], kinds["Relu"], kinds["Clip"]) == (2, 3, 0, 0)


@pytest.mark.parametrize("name", ["resnet", "encoder"])
def test_the_file_holds_no_metadata_and_no_float_copies(name: str) -> None:
    made = onnx.load_from_string(exported(name).content)
    graph = made.graph
    assert (made.producer_name, made.doc_string, list(made.metadata_props)) == ("", "", [])
    assert (list(graph.value_info), graph.doc_string, list(graph.metadata_props)) == ([], "", [])
    assert {node.name for node in graph.node} == {""}
    assert not any(node.doc_string or node.metadata_props for node in graph.node)
    assert max(len(output) for node in graph.node[:-1] for output in node.output) <= 3
    stored = sum(len(t.raw_data) for t in graph.initializer)
    assert made.ByteSize() - stored < 80 * (len(graph.node) + len(graph.initializer))
    big = [t for t in graph.initializer if np.prod(t.dims) > 1024 and name == "resnet"]
    assert {t.data_type for t in big} == ({onnx.TensorProto.INT8} if name == "resnet" else set())


def test_ports_have_names_and_a_free_batch() -> None:
    graph = onnx.load_from_string(export_onnx(captured("resnet")).content).graph
    ((given,), (result,)) = (graph.input, graph.output)
    assert (given.name, result.name) == ("x", "output")
    for port, sizes in ((given, [3, 32, 32]), (result, [10])):
        dims = port.type.tensor_type.shape.dim
        assert dims[0].dim_param == "batch"
        assert [d.dim_value for d in dims[1:]] == sizes
    assert export_onnx(captured("encoder")).inputs == (("ids", "int64", (12,)),)


@pytest.mark.parametrize("name", ["shuffle", "encoder"])
def test_the_same_model_gives_the_same_bytes(name: str) -> None:
    hashes = {
        hashlib.sha256(export_onnx(quantized(capture(*example(name)))).content).hexdigest()
        for _ in range(2)
    }
    assert len(hashes) == 1


def test_the_readable_copy_has_the_users_names() -> None:
    made = exported("resnet")
    names = {node.name for node in onnx.load_from_string(made.readable).graph.node}
    assert {"layer1.0.conv1/Conv", "layer1.0/Add", "linear/Gemm"} <= names
    assert {n for n in made.integer if n.endswith("/Conv")} == {
        n for n in names if n.endswith("/Conv")
    }


class Wrapped(nn.Module):
    """A function as a module, behind an addition that keeps it from being constant."""

    def __init__(self, function: Callable[..., Tensor | tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.function(x)


FUNCTIONS: dict[str, tuple[Callable[..., Tensor | tuple[Tensor, ...]], tuple[int, ...]]] = {
    "add with a number": (lambda x: x + 2, (4,)),
    "reversed subtraction": (lambda x: x.sub(1).div(3), (4,)),
    "clamp at one end": (lambda x: x.clamp(min=-0.5), (4,)),
    "hardtanh": (lambda x: F.hardtanh(x, -0.5, 0.7), (4,)),
    "silu": (F.silu, (4,)),
    "hardswish": (F.hardswish, (4,)),
    "mish": (F.mish, (4,)),
    "gelu by tanh": (lambda x: F.gelu(x, approximate="tanh"), (4,)),
    "elu": (lambda x: F.elu(x, 0.5), (4,)),
    "leaky relu": (lambda x: F.leaky_relu(x, 0.2), (4,)),
    "power": (lambda x: x.abs().pow(1.5), (4,)),
    "rsqrt": (lambda x: (x.abs() + 1).rsqrt(), (4,)),
    "cast": (lambda x: x.to(torch.int64).to(torch.float32), (4,)),
    "log softmax": (lambda x: x.log_softmax(-1), (4, 5)),
    "mean of a row": (lambda x: x.mean(1), (4, 5)),
    "sum of a row": (lambda x: x.sum(1), (4, 5)),
    "sum of all": (lambda x: x.sum((1, 2), keepdim=True), (4, 5)),
    "mean kept": (lambda x: x.mean(-1, keepdim=True), (4, 5)),
    "mean of an image": (lambda x: x.mean((-1, -2)), (3, 4, 5)),
    "adaptive pool to 2": (lambda x: F.adaptive_avg_pool2d(x, 2), (3, 4, 6)),
    "average pool": (lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), (3, 8, 8)),
    "maximum pool": (lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True), (3, 8, 8)),
    "maximum pool 1d": (lambda x: F.max_pool1d(x, 2), (3, 8)),
    "group norm": (lambda x: F.group_norm(x, 2, torch.ones(4), torch.zeros(4)), (4, 5, 5)),
    "layer norm bare": (lambda x: F.layer_norm(x, (5,)), (4, 5)),
    "causal attention": (
        lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
        (2, 5, 4),
    ),
    "masked attention": (
        lambda x: F.scaled_dot_product_attention(x, x, x, torch.ones(5, 5).tril().bool()),
        (2, 5, 4),
    ),
    "scaled attention": (lambda x: F.scaled_dot_product_attention(x, x, x, scale=0.3), (2, 5, 4)),
    "product of two": (lambda x: x @ x.transpose(1, 2), (4, 5)),
    "flatten all but the batch": (lambda x: x.flatten(1), (3, 4, 5)),
    "fold into the batch": (lambda x: x.reshape(-1, 5), (4, 5)),
    "squeeze": (lambda x: x[:, :1].squeeze(1).unsqueeze(-1), (4, 5)),
    "slices": (lambda x: x[:, 1:3, ::2, -2:], (4, 5, 6)),
    "pick": (lambda x: x[:, 2] + x[:, -1], (4, 5)),
    "split": (lambda x: torch.cat(x.split((1, 3), 1)[::-1], 1), (4, 5)),
    "chunk": (lambda x: x.chunk(3, 1)[0] * 2, (7, 5)),
    "unbind": (lambda x: x.unbind(1)[1], (4, 5)),
    "stack": (lambda x: torch.stack((x, x + 1), 1), (4, 5)),
    "permute": (lambda x: x.permute(0, 2, 1), (4, 5)),
    "expand": (lambda x: x[:, :1].expand(-1, 4, -1), (4, 5)),
    "pad by reflection": (lambda x: F.pad(x, (1, 2, 1, 0), mode="reflect"), (3, 5, 5)),
    "pad with a value": (lambda x: F.pad(x, (1, 0, 0, 2), value=3.0), (3, 5, 5)),
    "enlarge": (lambda x: F.interpolate(x, scale_factor=2, mode="nearest"), (3, 4, 5)),
    "enlarge smoothly": (
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False),
        (3, 4, 5),
    ),
    "enlarge to the corners": (
        lambda x: F.interpolate(x, size=(7, 9), mode="bilinear", align_corners=True),
        (3, 4, 5),
    ),
    "choose": (lambda x: torch.where((x > 0) & (x != 2) | ~(x <= -1), x, -x), (4, 5)),
    "mask": (lambda x: x.masked_fill(x < 0.1, -7.0), (4, 5)),
    "expand to the batch": (lambda x: torch.ones(1, 3).expand(x.shape[0], -1) * x, (3,)),
    "zeros as long as the batch": (lambda x: torch.cat((x, x.new_zeros(x.shape[0], 2)), 1), (3,)),
    "count the batch": (lambda x: x * torch.arange(x.shape[0])[:, None].float(), (3,)),
    "index": (lambda x: x[torch.tensor([0, 0])] + 1, (4, 5)),
    "index in pairs": (
        lambda x: x[torch.arange(x.shape[0])[:, None], torch.tensor([3, 1])] + 1,
        (4, 5),
    ),
    "repeat": (lambda x: x.repeat(1, 3, 2), (4, 5)),
    "repeat to the batch": (lambda x: torch.arange(3.0)[None].repeat(x.shape[0], 1) + x, (3,)),
    "roll": (lambda x: x.roll((-2, 1), (1, 2)), (4, 5)),
    "pixel shuffle": (lambda x: F.pixel_shuffle(x, 2), (8, 3, 3)),
    "difference": (lambda x: x.diff(dim=1, prepend=x[:, :1] - 1), (5,)),
    "running sum": (lambda x: (x > 0).cumsum(-1), (5,)),
    "length": (lambda x: F.normalize(x, dim=1), (5, 3)),
    "instance norm": (lambda x: F.instance_norm(x, eps=1e-3), (3, 5, 5)),
    "addmm": (lambda x: torch.addmm(torch.ones(3), x, torch.ones(5, 3), beta=2), (5,)),
    "einsum": (lambda x: torch.einsum("bij, bkj -> bki", x, x + 1), (4, 5)),
    "two outputs": (lambda x: (x + 1, x * 2), (4,)),
    "the input itself": (lambda x: (x, x.relu()), (4,)),
    "one output twice": (lambda x: (lambda y: (y, y))(x.relu()), (4,)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_translation_computes_what_torch_does(name: str) -> None:
    function, shape = FUNCTIONS[name]
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    model = capture(Wrapped(function), (x,))
    _translated_directly(model)
    for count in (1, 3):
        x = torch.randn(count, *shape)
        expected = function(x)
        given = expected if isinstance(expected, tuple) else (expected,)
        for found, wanted in zip(executed(export_onnx(model).content, (x,)), given, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-5)


LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "conv1d": (nn.Conv1d(3, 4, 3, 2, 1), (3, 9)),
    "conv3d": (nn.Conv3d(2, 4, 3, padding=1), (2, 4, 4, 4)),
    "dilated, grouped": (nn.Conv2d(4, 8, 3, dilation=2, groups=2, bias=False), (4, 9, 9)),
    "padded to the same size": (nn.Conv2d(3, 4, 4, padding="same"), (3, 8, 8)),
    "transposed": (nn.ConvTranspose2d(3, 4, 3, 2, 1, output_padding=1), (3, 5, 5)),
    "prelu": (nn.PReLU(3), (3, 5, 5)),
    "batch norm alone": (nn.BatchNorm2d(3), (3, 5, 5)),
    "linear on a sequence": (nn.Linear(4, 6), (5, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_each_layer_computes_what_torch_does(name: str) -> None:
    layer, shape = LAYERS[name]
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    model = capture(layer.eval(), (x,))
    _translated_directly(model)
    (found,) = executed(export_onnx(model).content, (x,))
    with torch.no_grad():
        np.testing.assert_allclose(found, layer(x), atol=1e-5)


class Steps(nn.Module):
    """A recurrent layer, all of whose results are outputs; its first states are zeros or the input's."""

    def __init__(self, layer: nn.RNNBase, given: bool) -> None:
        super().__init__()
        self.layer, self.given = layer, given

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        layer, size = self.layer, self.layer.hidden_size
        count = layer.num_layers * (1 + int(layer.bidirectional))
        first = x[:, :1, :size] if layer.batch_first else x[:1, :, :size].transpose(0, 1)
        state = first.transpose(0, 1).expand(count, -1, -1).contiguous()
        states = (state, state * 2) if isinstance(layer, nn.LSTM) else state
        made, last = layer(x, states) if self.given else layer(x)
        last = last if isinstance(last, tuple) else (last,)
        return made, *(end.transpose(0, 1) for end in last)


@pytest.mark.parametrize("given", [False, True], ids=["zeros", "given"])
@pytest.mark.parametrize("ways", [1, 2])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_compute_what_torch_does(
    kind: type[nn.RNNBase], ways: int, given: bool
) -> None:
    torch.manual_seed(0)
    layer = kind(6, 4, num_layers=2, batch_first=True, bidirectional=ways == 2, bias=not given)
    model = capture(Steps(layer, given).eval(), (torch.randn(2, 5, 6),))
    _translated_directly(model)
    x = torch.randn(3, 5, 6)
    for found, wanted in zip(
        executed(export_onnx(model).content, (x,)), Steps(layer, given)(x), strict=True
    ):
        np.testing.assert_allclose(found, wanted.detach(), atol=1e-5)


def _translated_directly(model: Model) -> None:
    translate(lower(model.network), model.example)  # raises where torch's exporter has to help


@pytest.mark.parametrize("name", ["shuffle", "mlp"])
def test_torchs_exporter_gives_the_same_integers(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = int8(name)
    direct = exported(name).content

    def unknown(*_: object) -> None:
        raise UntranslatedError("nothing is known")

    monkeypatch.setattr(onnx_out, "translate", unknown)
    general = export_onnx(model)
    inputs = samples(model, 16)
    np.testing.assert_allclose(
        executed(general.content, inputs)[0], executed(direct, inputs)[0], atol=1e-6
    )
    integer = {k: n for k, n in optimized(direct, tmp_path).items() if "Q" in k or "Integer" in k}
    assert integer.items() <= optimized(general.content, tmp_path).items()
    assert not onnx.load_from_string(general.content).graph.node[0].metadata_props


def test_what_no_table_knows_goes_to_torchs_exporter() -> None:
    model = capture(Wrapped(lambda x: torch.asinh(x)), (torch.randn(2, 5),))
    x = torch.randn(3, 5)
    (found,) = executed(export_onnx(model).content, (x,))
    np.testing.assert_allclose(found, x.asinh(), atol=1e-6)


def test_arithmetic_with_the_batch_size_is_never_mistaken() -> None:
    model = capture(
        Wrapped(lambda x: x.sum(0, keepdim=True) / x.shape[0] + x), (torch.randn(2, 5),)
    )
    x = torch.randn(7, 5)
    (found,) = executed(export_onnx(model).content, (x,))
    np.testing.assert_allclose(found, x.mean(0, keepdim=True) + x, atol=1e-6)


def test_what_nothing_can_export_is_an_error_of_one_line() -> None:
    model = capture(Wrapped(lambda x: torch.linalg.eigvals(x).real), (torch.randn(2, 3, 3),))
    with pytest.raises(NetsukeError, match=r"onnx: the model cannot be exported: .+") as error:
        export_onnx(model)
    assert "\n" not in str(error.value)
