"""An ONNX file, and onnxruntime as the judge of what it computes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
import torch
from torch import Tensor

from netsuke.core.errors import NetsukeError
from netsuke.nets.onnx_in.pointwise import TYPES

OLDEST = 9  # opset; before it BatchNormalization and others had other forms


@dataclass(frozen=True)
class Input:
    """A graph input. shape: 0 where the file leaves a dimension free."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]


@dataclass(frozen=True)
class File:
    """An ONNX file that onnxruntime accepts."""

    path: Path
    proto: Any
    session: Any
    inputs: tuple[Input, ...]
    opset: int

    @property
    def batch(self) -> int:
        """The batch the file fixes; 0 where it is free."""
        return self.inputs[0].shape[0]

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """onnxruntime's outputs; sample by sample where the file fixes a batch of one."""
        names = [i.name for i in self.inputs]
        count = len(inputs[0])
        step = self.batch or count
        parts = []
        for at in range(0, count, step):
            feed = {n: t[at : at + step].numpy() for n, t in zip(names, inputs, strict=True)}
            parts.append(self._run(feed))
        whole = [np.concatenate(p) if len(p) > 1 else p[0] for p in zip(*parts, strict=True)]
        return [torch.from_numpy(np.asarray(a)) for a in whole]

    def _run(self, feed: dict[str, Any]) -> list[Any]:
        try:
            return list(self.session.run(None, feed))
        except Exception as error:  # onnxruntime's own classes share no base but Exception
            raise NetsukeError(
                f"{self.path}: onnxruntime cannot run it: {first_line(error)}"
            ) from error

    def asked(self, names: Sequence[str]) -> "File":
        """The same file with these values as its outputs."""
        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        del proto.graph.output[:]
        proto.graph.output.extend(map(onnx.helper.make_empty_tensor_value_info, names))
        return replace(self, session=_session(self.path, proto.SerializeToString()))


def open_file(path: Path) -> File:
    """Read and check a file. Raises NetsukeError naming it where it is damaged or not supported."""
    try:
        proto = onnx.load(str(path))
    except FileNotFoundError as error:
        raise NetsukeError(f"{path}: no such file") from error
    except Exception as error:  # protobuf's DecodeError, a missing file of external data, …
        raise NetsukeError(f"{path}: is no whole ONNX file: {first_line(error)}") from error
    if not proto.graph.node or not proto.graph.output:
        raise NetsukeError(f"{path}: is no whole ONNX file: it holds no graph")
    opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset < OLDEST:
        raise NetsukeError(f"{path}: opset {opset} is too old; export it with {OLDEST} or newer")
    if proto.functions:
        proto = onnx.inliner.inline_local_functions(proto)
    return File(path, proto, _session(path, str(path)), _inputs(path, proto), opset)


def _session(path: Path, model: str | bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes share no base but Exception
        raise NetsukeError(f"{path}: onnxruntime cannot open it: {first_line(error)}") from error


def _inputs(path: Path, proto: onnx.ModelProto) -> tuple[Input, ...]:
    """What is fed from outside: old exporters list the weights as inputs too."""
    weights = {i.name for i in proto.graph.initializer}
    found = []
    for given in proto.graph.input:
        kind = given.type.tensor_type
        if given.name in weights:
            continue
        if kind.elem_type not in TYPES or not kind.shape.dim:
            raise NetsukeError(f"{path}: input {given.name!r} is no tensor with samples first")
        shape = tuple(d.dim_value for d in kind.shape.dim)
        found.append(Input(given.name, TYPES[kind.elem_type], shape))
    if not found:
        raise NetsukeError(f"{path}: takes no input")
    return tuple(found)


def first_line(error: Exception) -> str:
    """What an exception says first, without a full stop."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
