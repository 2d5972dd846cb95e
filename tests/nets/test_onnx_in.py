import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from models import example
from netsuke.core.errors import NetsukeError
from netsuke.core.model import Model
from netsuke.nets.costs import layers
from netsuke.nets.graph import op, where
from netsuke.nets.onnx_in import from_onnx
from netsuke.nets.save import load, save

Weights = dict[str, Any]


def write(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int | str | None] = ("batch", 4, 8, 8),
    *,
    opset: int = 17,
    weights: Weights | None = None,
    kind: int = TensorProto.FLOAT,
    listed: bool = False,
) -> Path:
    """A file of these nodes from ``x`` to ``y``; ``listed``: the weights are inputs as well."""
    tensors = [
        numpy_helper.from_array(np.asarray(v, dtype=np.asarray(v).dtype), k)
        for k, v in (weights or {}).items()
    ]
    inputs = [helper.make_tensor_value_info("x", kind, shape)]
    if listed:
        inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in tensors]
    outputs = [helper.make_empty_tensor_value_info("y")]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    path.write_bytes(model.SerializeToString())
    return path


def node(kind: str, *inputs: str, to: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, ["x", *inputs], [to], **attributes)


def assert_same(model: Model, path: Path, count: int = 5) -> None:
    """Equal to onnxruntime on a batch that was not tried while reading; fixed files sample by sample."""
    session = onnxruntime.InferenceSession(str(path))
    given = [torch.cat([t] * count)[:count].flip(0) for t in model.example]
    fixed = isinstance(session.get_inputs()[0].shape[0], int)
    names = [i.name for i in session.get_inputs()]
    batches = [[t[i : i + 1] for t in given] for i in range(count)] if fixed else [given]
    runs = [
        session.run(None, dict(zip(names, [t.numpy() for t in b], strict=True))) for b in batches
    ]
    wanted = [torch.from_numpy(np.concatenate(parts)) for parts in zip(*runs, strict=True)]
    with torch.no_grad():
        result = model.network(*given)
    outputs = result if isinstance(result, tuple) else (result,)
    for output, want in zip(outputs, wanted, strict=True):
        torch.testing.assert_close(output, want, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory):
    """Files written by torch's exporter, made once each: it takes seconds."""
    folder = tmp_path_factory.mktemp("onnx")

    def export(name: str, free: bool) -> Path:
        path = folder / f"{name}-{free}.onnx"
        if path.exists():
            return path
        module, inputs = example(name)
        batch = {0: torch.export.Dim.DYNAMIC}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module, inputs if free else tuple(t[:1] for t in inputs), path,
                dynamo=True, external_data=False, verbose=False,
                dynamic_shapes=(batch,) if free else None,
            )  # fmt: skip
        return path

    return export


@pytest.mark.parametrize(
    ("name", "free"), [("resnet", True), ("mobilenet", True), ("encoder", True), ("encoder", False)]
)
def test_files_of_torch(exported, name: str, free: bool) -> None:
    path = exported(name, free)
    model = from_onnx(path)
    assert_same(model, path)
    module, inputs = example(name)
    with torch.no_grad():
        torch.testing.assert_close(model.network(*inputs), module(*inputs), rtol=1e-4, atol=1e-5)
    assert model.lineage == ()
    assert len(model.example[0]) == 2
    found = {op(n) for n in model.network.graph.nodes}
    assert "linear" in found
    assert {"batch_norm", "addmm"}.isdisjoint(found)  # folded by the exporter; Gemm is linear
    if name == "encoder":
        assert sum(op(n) == "linear" for n in model.network.graph.nodes) == 13
        assert all(len(n.args) == 3 for n in model.network.graph.nodes if op(n) == "linear")
        assert "layers.0.query.weight" in model.network.state_dict()
        assert "layers.0.query" in {layer.name for layer in layers(model)}


R = np.random.default_rng(0)


def f(*shape: int) -> np.ndarray:
    return R.normal(size=shape).astype(np.float32)


def i(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


CASES: dict[str, tuple[list[onnx.NodeProto], Weights, dict[str, Any]]] = {
    "conv": ([node("Conv", "w", "b", pads=[1, 1, 1, 1], strides=[2, 2], group=2)], {"w": f(6, 2, 3, 3), "b": f(6)}, {}),
    "conv uneven": ([node("Conv", "w", pads=[0, 0, 1, 2])], {"w": f(6, 4, 3, 3)}, {}),
    "conv same upper": ([node("Conv", "w", auto_pad="SAME_UPPER", strides=[2, 2])], {"w": f(6, 4, 3, 3)}, {}),
    "conv same lower": ([node("Conv", "w", auto_pad="SAME_LOWER", strides=[3, 3])], {"w": f(6, 4, 2, 2)}, {}),
    "conv 1d": ([node("Conv", "w")], {"w": f(6, 4, 3)}, {"shape": ["n", 4, 9]}),
    "conv 3d": ([node("Conv", "w")], {"w": f(2, 3, 2, 2, 2)}, {"shape": ["n", 3, 4, 4, 4]}),
    "transposed": ([node("ConvTranspose", "w", "b", strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1], group=2)], {"w": f(4, 3, 3, 3), "b": f(6)}, {}),
    "transposed uneven": ([node("ConvTranspose", "w", strides=[2, 2], pads=[1, 1, 0, 0])], {"w": f(4, 3, 3, 3)}, {}),
    "gemm": ([node("Gemm", "w", "b", alpha=0.5, beta=2.0)], {"w": f(4, 3), "b": f(3)}, {"shape": ["n", 4]}),
    "gemm turned": ([node("Gemm", "w", "b", transB=1)], {"w": f(3, 4), "b": f(3)}, {"shape": ["n", 4]}),
    "gemm one bias": ([node("Gemm", "w", "b", transB=1)], {"w": f(3, 4), "b": f(1)}, {"shape": ["n", 4]}),
    "gemm without bias": ([node("Gemm", "w")], {"w": f(4, 3)}, {"shape": ["n", 4]}),
    "matmul": ([node("MatMul", "w", to="t"), helper.make_node("Add", ["b", "t"], ["y"])], {"w": f(4, 3), "b": f(3)}, {"shape": ["n", 5, 4]}),
    "matmul of data": ([node("Transpose", to="t", perm=[0, 2, 1]), node("MatMul", "t")], {}, {"shape": ["n", 5, 4]}),
    "batchnorm": ([node("BatchNormalization", "s", "b", "m", "v", epsilon=1e-3)], {"s": f(4), "b": f(4), "m": f(4), "v": f(4) ** 2 + 0.1}, {}),
    "batchnorm 9": ([node("BatchNormalization", "s", "b", "m", "v")], {"s": f(4), "b": f(4), "m": f(4), "v": f(4) ** 2 + 0.1}, {"opset": 9, "listed": True}),
    "instancenorm": ([node("InstanceNormalization", "s", "b")], {"s": f(4), "b": f(4)}, {}),
    "layernorm": ([node("LayerNormalization", "s", "b", axis=-1)], {"s": f(8), "b": f(8)}, {}),
    "layernorm two": ([node("LayerNormalization", "s", axis=2)], {"s": f(8, 8)}, {}),
    "groupnorm": ([node("GroupNormalization", "s", "b", num_groups=2)], {"s": f(4), "b": f(4)}, {"opset": 21}),
    "maxpool": ([node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1)], {}, {}),
    "maxpool uneven": ([node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])], {}, {}),
    "averagepool": ([node("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1])], {}, {}),
    "averagepool counted": ([node("AveragePool", kernel_shape=[2, 2], pads=[1, 0, 1, 1], count_include_pad=1)], {}, {}),
    "global average": ([node("GlobalAveragePool")], {}, {}),
    "global max": ([node("GlobalMaxPool")], {}, {}),
    "clip": ([node("Clip", "lo", "hi")], {"lo": np.float32(-0.5), "hi": np.float32(6)}, {}),
    "clip above": ([node("Clip", "", "hi")], {"hi": np.float32(0.2)}, {}),
    "clip 9": ([node("Clip", min=0.0, max=6.0)], {}, {"opset": 9}),
    "hardsigmoid": ([node("HardSigmoid")], {}, {}),
    "hardsigmoid torch": ([node("HardSigmoid", alpha=1 / 6)], {}, {}),
    "leaky": ([node("LeakyRelu", alpha=0.3)], {}, {}),
    "elu": ([node("Elu", alpha=0.5)], {}, {}),
    "prelu": ([node("PRelu", "s")], {"s": f(4, 1, 1)}, {}),
    "gelu": ([node("Gelu")], {}, {"opset": 20}),
    "gelu tanh": ([node("Gelu", approximate="tanh")], {}, {"opset": 20}),
    "softmax": ([node("Softmax", axis=1)], {}, {}),
    "softmax 9": ([node("Softmax", axis=1)], {}, {"opset": 9}),
    "logsoftmax": ([node("LogSoftmax")], {}, {}),
    "from the left": ([helper.make_node("Sub", ["c", "x"], ["y"])], {"c": np.float32(1)}, {}),
    "sub": ([node("Sub", "c")], {"c": f(4, 1, 1)}, {}),
    "div": ([node("Div", "c")], {"c": np.float32(3)}, {}),
    "div whole": ([node("Div", "c", to="t"), helper.make_node("Cast", ["t"], ["y"], to=1)], {"c": i(-2)}, {"shape": ["n", 3], "kind": TensorProto.INT64}),
    "mul": ([helper.make_node("Mul", ["c", "x"], ["y"])], {"c": f(1, 4, 1, 1)}, {}),
    "pow": ([node("Pow", "c")], {"c": np.float32(2)}, {}),
    "max min": ([node("Max", "c", to="t"), helper.make_node("Min", ["t", "d"], ["y"])], {"c": np.float32(-0.1), "d": f(8)}, {}),
    "where": ([node("Greater", "z", to="t"), helper.make_node("Where", ["t", "x", "c"], ["y"])], {"z": np.float32(0), "c": f(8)}, {}),
    "equal": ([node("Relu", to="t"), helper.make_node("Equal", ["t", "z"], ["e"]), helper.make_node("Not", ["e"], ["n"]), helper.make_node("Cast", ["n"], ["y"], to=1)], {"z": np.float32(0)}, {}),
    "mean": ([node("ReduceMean", axes=[2, 3], keepdims=0)], {}, {}),
    "mean 18": ([node("ReduceMean", "a")], {"a": i(-1)}, {"opset": 18}),
    "sum 13": ([node("ReduceSum", "a", keepdims=0)], {"a": i(1)}, {}),
    "max over": ([node("ReduceMax", axes=[1])], {}, {}),
    "l2": ([node("ReduceL2", axes=[1])], {}, {}),
    "argmax": ([node("ArgMax", axis=1, keepdims=0)], {}, {}),
    "einsum": ([helper.make_node("Einsum", ["x", "w"], ["y"], equation="nchw,cd->ndhw")], {"w": f(4, 3)}, {}),
    "flatten": ([node("Flatten")], {}, {}),
    "flatten 2": ([node("Flatten", axis=2)], {}, {}),
    "transpose": ([node("Transpose", perm=[0, 2, 3, 1])], {}, {}),
    "concat": ([node("Relu", to="t"), helper.make_node("Concat", ["x", "t"], ["y"], axis=1)], {}, {}),
    "slice": ([node("Slice", "s", "e", "a", "d")], {"s": i(1, -7), "e": i(2**62, -1), "a": i(2, 3), "d": i(2, 1)}, {}),
    "slice 9": ([node("Slice", starts=[1], ends=[3], axes=[1])], {}, {"opset": 9}),
    "slice back": ([node("Slice", "s", "e", "a", "d")], {"s": i(-1), "e": i(-(2**62)), "a": i(1), "d": i(-1)}, {}),
    "split": ([helper.make_node("Split", ["x", "p"], ["a", "b"], axis=1), helper.make_node("Concat", ["b", "a"], ["y"], axis=1)], {"p": i(1, 3)}, {}),
    "split 9": ([helper.make_node("Split", ["x"], ["a", "b"], axis=1), helper.make_node("Sub", ["b", "a"], ["y"])], {}, {"opset": 9}),
    "squeeze": ([node("ReduceMean", axes=[2], to="t"), helper.make_node("Squeeze", ["t", "a"], ["y"])], {"a": i(2)}, {}),
    "unsqueeze": ([node("Unsqueeze", "a")], {"a": i(1, -1)}, {}),
    "pad": ([node("Pad", "p", "v")], {"p": i(0, 1, 0, 0, 0, 2, 1, 0), "v": np.float32(1.5)}, {}),
    "pad reflect": ([node("Pad", "p", mode="reflect")], {"p": i(0, 0, 2, 1, 0, 0, 1, 2)}, {}),
    "pad 9": ([node("Pad", pads=[0, 0, 1, 1, 0, 0, 1, 1])], {}, {"opset": 9}),
    "select": ([node("Gather", "j", axis=1)], {"j": np.int64(-1)}, {}),
    "gather": ([node("Gather", "j", axis=1)], {"j": i(2, 0)}, {}),
    "embedding": ([helper.make_node("Gather", ["w", "x"], ["y"])], {"w": f(9, 3)}, {"shape": ["n", 5], "kind": TensorProto.INT64}),
    "gather nd": ([helper.make_node("GatherND", ["w", "x"], ["y"])], {"w": f(2, 3, 4)}, {"shape": ["n", 5, 2], "kind": TensorProto.INT64}),
    "gather elements": ([node("ArgMax", to="t", axis=1), node("GatherElements", "t", axis=1)], {}, {}),
    "range": ([node("Shape", to="s"), helper.make_node("Gather", ["s", "o"], ["n"]), helper.make_node("Range", ["o", "n", "i"], ["r"]), helper.make_node("Cast", ["r"], ["c"], to=1), helper.make_node("Unsqueeze", ["c", "a"], ["u"]), node("Add", "u")], {"o": np.int64(0), "i": np.int64(1), "a": i(1)}, {"shape": ["n", 4]}),
    "full": ([node("Shape", to="s"), helper.make_node("ConstantOfShape", ["s"], ["c"], value=numpy_helper.from_array(np.float32([2]))), node("Mul", "c")], {}, {}),
    "cumsum": ([node("CumSum", "a")], {"a": np.int64(2)}, {}),
    "tile": ([node("Tile", "r")], {"r": i(1, 2, 1, 3)}, {}),
    "expand": ([node("ReduceMean", axes=[1], to="t"), helper.make_node("Expand", ["t", "s"], ["y"])], {"s": i(4, 8, 8)}, {}),
    "resize nearest": ([node("Resize", "", "s", mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")], {"s": f(4) * 0 + np.float32([1, 1, 2, 3])}, {}),
    "resize half": ([node("Resize", "", "s", mode="nearest")], {"s": np.float32([1, 1, 2, 2])}, {}),
    "resize linear": ([node("Resize", "", "s", mode="linear")], {"s": np.float32([1, 1, 1.5, 2])}, {}),
    "resize corners": ([node("Resize", "", "", "s", mode="linear", coordinate_transformation_mode="align_corners")], {"s": i(1, 4, 5, 11)}, {"shape": [1, 4, 8, 8]}),
    "upsample": ([node("Upsample", "s", mode="nearest")], {"s": np.float32([1, 1, 2, 2])}, {"opset": 9}),
    "depth to space": ([node("DepthToSpace", blocksize=2, mode="CRD")], {}, {}),
    "trilu": ([node("Trilu", upper=0)], {}, {}),
    "dropout": ([node("Dropout", to="t"), helper.make_node("Identity", ["t"], ["y"])], {}, {}),
    **{kind: ([node(kind)], {}, {"opset": 18}) for kind in ("Relu", "Sigmoid", "Tanh", "Erf", "Exp", "Neg", "HardSwish", "Abs", "Softplus", "Mish", "Sin", "Floor", "Selu")},
    "roots": ([node("Abs", to="t"), helper.make_node("Sqrt", ["t"], ["y"])], {}, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_operations_equal_onnxruntime(name: str, tmp_path: Path) -> None:
    nodes, weights, rest = CASES[name]
    path = write(tmp_path / "op.onnx", nodes, weights=weights, **rest)
    model = from_onnx(path)
    assert_same(model, path)
    assert model.lineage == ()


SHAPE = [
    node("Shape", to="shape"),
    helper.make_node("Constant", [], ["zero"], value=numpy_helper.from_array(np.array(0))),
    helper.make_node("Gather", ["shape", "zero"], ["batch"]),
    helper.make_node("Unsqueeze", ["batch"], ["one"], axes=[0]),
    helper.make_node("Concat", ["one", "rest"], ["target"], axis=0),
    node("Reshape", "target"),
]


@pytest.mark.parametrize("batch", ["batch", 1])
def test_shape_arithmetic_vanishes(batch: str | int, tmp_path: Path) -> None:
    """As old exporters write ``x.view(x.size(0), -1, 16)``; the batch is free though the file has 1."""
    path = write(tmp_path / "m.onnx", SHAPE, [batch, 4, 8, 8], opset=9, weights={"rest": i(-1, 16)})
    model = from_onnx(path)
    found = [op(n) for n in model.network.graph.nodes if n.op == "call_function"]
    assert found == ["sym_size", "reshape"]
    assert model.network(torch.zeros(7, 4, 8, 8)).shape == (7, 16, 16)


@pytest.mark.parametrize("shape", [(1, 256), (1, -1), (-1, 256), (4, 64)])
def test_a_written_batch_of_one_is_freed(shape: tuple[int, ...], tmp_path: Path) -> None:
    nodes = [node("Reshape", "s", to="t"), helper.make_node("Reshape", ["t", "e"], ["y"])]
    weights = {"s": i(*shape), "e": i(1, 16, 16)}
    path = write(tmp_path / "m.onnx", nodes, [1, 4, 8, 8], weights=weights)
    model = from_onnx(path)
    assert_same(model, path)
    assert model.lineage == ()


def test_a_batch_that_cannot_be_freed_is_said(tmp_path: Path) -> None:
    nodes = [node("ReduceMean", to="m", axes=[0]), node("Sub", "m")]
    path = write(tmp_path / "m.onnx", nodes, [1, 4])
    model = from_onnx(path)
    assert model.example[0].shape == (1, 4)
    assert "fixes the batch to 1" in model.lineage[0].notes[0]
    path = write(tmp_path / "m.onnx", [node("Relu")], [3, 4])
    assert "fixes the batch to 3" in from_onnx(path).lineage[0].notes[0]


def test_it_trains_and_names_its_parts(tmp_path: Path) -> None:
    weights = {
        "layer1.0.conv.weight": f(6, 4, 3, 3),
        "bn.weight": f(6), "bn.bias": f(6), "bn.running_mean": f(6), "bn.running_var": f(6) ** 2,
        "450": f(6, 1, 1), "type.forward": f(6, 1, 1),
    }  # fmt: skip
    norm = ["c", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"]
    nodes = [
        helper.make_node("Conv", ["x", "layer1.0.conv.weight"], ["c"]),
        helper.make_node("BatchNormalization", norm, ["b"]),
        helper.make_node("Add", ["b", "450"], ["a"], name="shift"),
        helper.make_node("Mul", ["a", "type.forward"], ["y"]),
    ]
    path = write(tmp_path / "m.onnx", nodes, weights=weights)
    network = from_onnx(path).network
    assert set(network.state_dict()) == {*weights, "type_.forward_"} - {"type.forward"}
    assert len(list(network.parameters())) == 5
    conv = next(n for n in network.graph.nodes if op(n) == "conv2d")
    assert where(conv) == "layer1.0.conv"
    assert [x.name for x in layers(from_onnx(path))] == ["layer1.0.conv", "bn", "shift", "type_"]
    before = network.get_buffer("bn.running_mean").clone()
    network.train()(torch.randn(2, 4, 8, 8)).sum().backward()
    assert not torch.equal(before, network.get_buffer("bn.running_mean"))
    assert network.get_parameter("450").grad is not None


def test_what_was_read_can_be_saved(exported, tmp_path: Path) -> None:
    model = from_onnx(exported("encoder", free=False))
    save(model, tmp_path)
    back = load(tmp_path)
    assert torch.equal(back.network(*model.example), model.network(*model.example))


def test_free_sizes_want_an_example(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", [node("Relu")], ["n", 4, "length"])
    with pytest.raises(NetsukeError, match="input 'x' leaves its dimension 2 free"):
        from_onnx(path)
    model = from_onnx(path, (torch.zeros(1, 4, 9),))
    assert model.example[0].shape == (2, 4, 9)
    assert_same(model, path)


def test_unknown_operations_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", [node("NonZero", name="mine", to="y")])
    with pytest.raises(NetsukeError) as caught:
        from_onnx(path)
    assert str(caught.value) == (f"{path}: node 'mine' uses NonZero, which is not known to Netsuke")
    nodes = [node("Resize", "", "s", mode="cubic", name="r")]
    path = write(tmp_path / "m.onnx", nodes, weights={"s": np.float32([1, 1, 2, 2])})
    with pytest.raises(NetsukeError, match="node 'r' uses Resize, which interpolates by cubic"):
        from_onnx(path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_damaged_files_are_named(share: float, tmp_path: Path) -> None:
    path = write(tmp_path / "cut.onnx", [node("Conv", "w")], weights={"w": f(6, 4, 3, 3)})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(NetsukeError) as caught:
        from_onnx(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(NetsukeError, match="none.onnx: no such file"):
        from_onnx(tmp_path / "none.onnx")
    path = tmp_path / "text.onnx"
    path.write_text("not a model")
    with pytest.raises(NetsukeError, match="text.onnx: is no whole ONNX file"):
        from_onnx(path)
    path = write(tmp_path / "old.onnx", [node("Relu")], opset=8)
    with pytest.raises(NetsukeError, match="opset 8 is too old"):
        from_onnx(path)


def test_a_wrong_conversion_is_caught_and_placed(tmp_path: Path, monkeypatch) -> None:
    """A converter with a mistake in it: LeakyRelu with a slope of its own."""
    from netsuke.nets.onnx_in import convert

    def wrong(b, n):
        return b.call(torch.ops.aten.leaky_relu.default, n.value(0), 0.5)

    monkeypatch.setitem(convert.TABLE, "LeakyRelu", wrong)
    nodes = [node("Neg", to="t"), helper.make_node("LeakyRelu", ["t"], ["y"], name="leak")]
    path = write(tmp_path / "m.onnx", nodes)
    with pytest.raises(
        NetsukeError, match=r"differs from onnxruntime .* node 'leak' \(LeakyRelu\)"
    ):
        from_onnx(path)


def test_parameters_are_trainable_tensors_of_their_own(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", [node("Conv", "w")], weights={"w": f(6, 4, 3, 3)})
    first, second = from_onnx(path).network, from_onnx(path).network
    assert isinstance(first.get_parameter("w"), nn.Parameter)
    with torch.no_grad():
        first.get_parameter("w").zero_()
    assert second.get_parameter("w").abs().sum() > 0
