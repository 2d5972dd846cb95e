"""Ranges found at each call: as ONNX defines them, and as onnxruntime computes them."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import fx, nn

from models import captured
from netsuke.core.model import Model
from netsuke.nets.capture import capture
from netsuke.nets.costs import layers
from netsuke.nets.onnx_out import export_onnx
from netsuke.nets.quantizers.dynamic import DYNAMIC, linear_layers, place_dynamic, quantize_dynamic
from netsuke.nets.save import load, save
from netsuke.runtimes.onnxruntime import OnnxRuntime
from netsuke.testing import samples


def dynamic(model: Model) -> Model:
    return Model(network=place_dynamic(model.network), example=model.example, name=model.name)


def session(content: bytes, folder: Path | None = None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    if folder:
        options.optimized_model_filepath = str(folder / "optimized.onnx")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    "x",
    [torch.randn(3, 7), torch.rand(9) + 5, -torch.rand(9) - 5, torch.zeros(4), torch.full((3,), 2.5),
     torch.cat((torch.randn(99), torch.tensor([1e6])))],
    ids=["normal", "positive", "negative", "zero", "constant", "outlier"],
)  # fmt: skip
def test_it_is_what_onnxruntime_computes(x: torch.Tensor) -> None:
    helper = onnx.helper
    nodes = [helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
             helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"])]  # fmt: skip
    ports = [helper.make_tensor_value_info(n, 1, list(x.shape)) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    (found,) = session(made.SerializeToString()).run(None, {"x": x.numpy()})
    np.testing.assert_array_equal(quantize_dynamic(x), found)


def test_its_gradient_passes_through_and_torch_finds_it_well_behaved() -> None:
    x = torch.randn(4, 5, requires_grad=True)
    quantize_dynamic(x).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.ones(4, 5))
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(DYNAMIC, (x,), test_utils=checks)


@pytest.mark.parametrize("name", ["mlp", "encoder"])
def test_onnxruntime_gives_what_was_simulated(name: str, tmp_path: Path) -> None:
    model = dynamic(captured(name))
    chance = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 50, (16, 12), generator=chance)
    x = ids if name == "encoder" else torch.randn(16, 16, generator=chance)
    ran = session(export_onnx(model).content, tmp_path)
    (found,) = ran.run(None, {ran.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        expected = model.network.eval()(x).numpy()
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())
    assert np.abs(found - expected).mean() < 0.002 * np.abs(expected).max()
    nodes = Counter(n.op_type for n in onnx.load(tmp_path / "optimized.onnx").graph.node)
    fused = nodes["DynamicQuantizeMatMul"] + nodes["MatMulIntegerToFloat"]
    assert fused == len(linear_layers(captured(name).network))
    assert not nodes["Gemm"] + nodes["MatMulInteger"] + nodes["DequantizeLinear"]


def test_its_artifact_says_that_samples_are_to_be_judged_alone(tmp_path: Path) -> None:
    model, device = captured("mlp"), samples.goal("pi4").device
    made = [
        OnnxRuntime().export(m, device, tmp_path / "m.onnx").alone for m in (dynamic(model), model)
    ]
    assert made == [True, False]


def test_layers_that_read_one_value_share_its_range() -> None:
    network = place_dynamic(captured("encoder").network)
    readers: Counter[fx.Node] = Counter()
    for node in network.graph.nodes:
        if node.target is DYNAMIC:
            readers[node] = len(node.users)
    assert max(readers.values()) == 3  # query, key, value


def test_bits_and_saving(tmp_path: Path) -> None:
    model = dynamic(captured("mlp"))
    found = [layer for layer in layers(model) if layer.op == "linear"]
    assert {(layer.weight_bits, layer.activation_bits) for layer in found} == {(8, 8)}
    save(model, tmp_path)
    assert export_onnx(load(tmp_path)).content == export_onnx(model).content


def test_convolutions_are_left_alone() -> None:
    model = capture(nn.Conv2d(3, 4, 3), (torch.randn(2, 3, 8, 8),))
    assert not linear_layers(model.network)
    assert not any(n.target is DYNAMIC for n in place_dynamic(model.network).graph.nodes)
