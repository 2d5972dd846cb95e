"""onnxruntime."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from models import example
from netsuke.core.errors import NetsukeError
from netsuke.core.model import Model
from netsuke.core.runtime import Runtime
from netsuke.devices import device
from netsuke.nets.capture import capture
from netsuke.nets.onnx_out import export_onnx
from netsuke.nets.quantizers.calibrate import calibrate
from netsuke.nets.quantizers.place import place
from netsuke.runtimes.onnxruntime import OnnxRuntime, left_float
from netsuke.testing.runtimes import RuntimeConformance


class TestOnnxRuntime(RuntimeConformance):
    @pytest.fixture
    def plugin(self) -> Runtime:
        return OnnxRuntime()


@pytest.fixture(scope="module")
def model() -> Model:
    captured = capture(*example("shuffle"))
    network = place(captured.network, captured.example)
    calibrate(network, [captured.example])
    return replace(captured, network=network)


def test_nothing_meant_for_int8_stays_float(model: Model, tmp_path: Path) -> None:
    artifact = OnnxRuntime().export(model, device("pi4"), tmp_path / "model.onnx")
    assert artifact.findings == ()
    assert {layer.weight_bits for layer in artifact.layers if layer.op == "conv2d"} == {8}


def test_what_stays_float_is_found_by_the_users_name(model: Model) -> None:
    made = export_onnx(model)
    readable = onnx.load_from_string(made.readable)
    nodes = {node.name: node for node in readable.graph.node}
    read = nodes["second/Conv"].input[0]
    before = next(n for n in nodes.values() if read in n.output)
    # 16-bit activations, for which onnxruntime has no convolution
    wide = onnx.helper.make_tensor("wide", onnx.TensorProto.UINT16, [], [0])
    readable.graph.initializer.append(wide)
    for node in (before, next(n for n in nodes.values() if before.input[0] in n.output)):
        node.input[2] = "wide"
    found = left_float(replace(made, readable=readable.SerializeToString()))
    assert "second: Conv was meant for INT8 and stayed float" in found
    assert "stem: Conv was meant for INT8 and stayed float" not in found


def test_any_onnx_file_can_be_adopted(model: Model, tmp_path: Path) -> None:
    runtime = OnnxRuntime()
    exported = runtime.export(model, device("pi4"), tmp_path / "model.onnx")
    adopted = runtime.adopt(tmp_path / "model.onnx")
    assert adopted == replace(exported, layers=(), findings=())


def test_a_file_of_something_else_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "text.onnx"
    path.write_text("not a network")
    with pytest.raises(NetsukeError, match=r"text\.onnx: is no ONNX file that can run") as error:
        OnnxRuntime().adopt(path)
    assert "\n" not in str(error.value)


def test_inputs_are_cast_and_checked(model: Model, tmp_path: Path) -> None:
    runtime = OnnxRuntime()
    session = runtime.open(runtime.export(model, device("pi4"), tmp_path / "model.onnx"))
    x = np.random.default_rng(0).standard_normal((3, 3, 16, 16))
    np.testing.assert_array_equal(session.run((x,))[0], session.run((x.astype(np.float32),))[0])
    with pytest.raises(NetsukeError, match="takes 1 inputs, got 2"):
        session.run((x, x))
    with pytest.raises(NetsukeError, match=r"model\.onnx: cannot run: .*"):
        session.run((x[:, :, :8],))


def test_an_export_that_fails_leaves_no_file(tmp_path: Path) -> None:
    class Bad(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eigvals(x).real

    bad = capture(Bad(), (torch.randn(2, 3, 3),))
    with pytest.raises(NetsukeError, match="onnx: the model cannot be exported"):
        OnnxRuntime().export(bad, device("pi4"), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
