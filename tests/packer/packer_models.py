"""ONNX files with given initializers, for tests of the stored form."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper


def saved(path: Path, *tensors: TensorProto) -> Path:
    """A model that holds these initializers, saved."""
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 2]) for n in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
    graph.initializer.extend(tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    path.write_bytes(model.SerializeToString(deterministic=True))
    onnx.checker.check_model(str(path))
    return path


def tensor(values: np.ndarray, name: str = "w") -> TensorProto:
    """An initializer with these values as they are."""
    return onnx.numpy_helper.from_array(values, name)


def raw(kind: int, shape: tuple[int, ...], content: bytes, name: str = "w") -> TensorProto:
    """An initializer of any ONNX type with these bytes."""
    return TensorProto(data_type=kind, dims=shape, raw_data=content, name=name)
