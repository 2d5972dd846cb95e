"""onnxruntime: ONNX files on the CPU."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import onnxruntime

from netsuke.core.artifact import Artifact, sha256
from netsuke.core.cut import Cut, Part
from netsuke.core.data import Array
from netsuke.core.device import Device
from netsuke.core.errors import NetsukeError
from netsuke.core.files import beside
from netsuke.core.kernels import Kernel, KernelFiles
from netsuke.core.model import Model
from netsuke.core.runtime import Runtime, Session
from netsuke.runtimes import _cuts, _kernels, _widths
from netsuke.runtimes._widths import Widths

if TYPE_CHECKING:
    from netsuke.nets.onnx_out import Exported

TYPES = {
    "tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16",
    "tensor(int64)": "int64", "tensor(int32)": "int32", "tensor(int16)": "int16",
    "tensor(int8)": "int8", "tensor(uint8)": "uint8", "tensor(bool)": "bool",
}  # fmt: skip
FLOAT_KERNELS = frozenset({
    "Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "Add", "Mul", "Sigmoid",
    "Concat", "GlobalAveragePool", "AveragePool",
})  # fmt: skip
QUIET = 3
"""Log errors only: what a log says of a corrupt file is said by the exception too."""


class OnnxRuntime(Runtime):
    """Writes ONNX files and runs them on the CPU, one operation after the other."""

    name: ClassVar[str] = "onnxruntime"

    def export(self, model: Model, device: Device, path: Path) -> Artifact:
        """Write ``model`` as an ONNX file at ``path``; the same model gives the same bytes.

        The file fits any device onnxruntime runs on. Findings name the operations meant for INT8
        that onnxruntime's own optimizer, on this machine, leaves in float.
        """
        from netsuke.nets.costs import layers
        from netsuke.nets.onnx_out import export_onnx

        made = export_onnx(model)
        with beside(path) as draft:
            draft.write_bytes(made.content)
        _keep_widths(model, path, made.content)
        return Artifact(
            path=path, runtime=self.name, sha256=sha256(path), inputs=made.inputs,
            layers=layers(model), findings=left_float(made), alone=made.dynamic,
        )  # fmt: skip

    def open(self, artifact: Artifact, threads: int = 1) -> Session:
        """Load an artifact on ``threads`` threads. Raises NetsukeError naming a file that is missing,
        corrupt or truncated."""
        path = artifact.path
        session = _session(path, _options(threads))
        return OnnxSession(path, session, threads, _widths.read(path))

    def adopt(self, path: Path) -> Artifact:
        """Any ONNX file as an artifact; of its layers nothing is known.

        Raises NetsukeError as ``open`` does.
        """
        session = _session(path, _options(1))
        inputs = tuple((i.name, _type(path, i), _shape(i.shape)) for i in session.get_inputs())
        return Artifact(path=path, runtime=self.name, sha256=sha256(path), inputs=inputs)

    def cuts(self, artifact: Artifact) -> tuple[Cut, ...]:
        return _cuts.sliced(artifact.path).cuts([one.name for one in artifact.layers if one.macs])

    def parts(self, artifact: Artifact, cuts: Sequence[Cut], folder: Path) -> tuple[Part, ...]:
        model, ends = _cuts.sliced(artifact.path), (None, *cuts, None)
        made = []
        for number, (before, behind) in enumerate(pairwise(ends), 1):
            piece, gives, leaves = model.piece(before, behind)
            path = folder / f"{artifact.path.stem}-{number}-of-{len(ends) - 1}.onnx"
            with beside(path) as draft:
                draft.write_bytes(piece.SerializeToString())
            made.append(Part(replace(self.adopt(path), alone=artifact.alone), gives, leaves))
        return tuple(made)

    def turns(self, contents: Sequence[bytes]) -> list[list[float]]:
        path = Path("a file to be timed")
        loaded = [_loaded(path, content, _options(1)) for content in contents]
        return _kernels.turns([(session, _made_up(path, session)) for session in loaded])

    def kernel_files(self, kernel: Kernel) -> KernelFiles | None:
        """Files of a few of it. Linear layers of integers have none: what they take depends on what is around them."""
        return None if kernel.kind == "linear" and kernel.bits == 8 else _kernels.files(kernel)


@dataclass(frozen=True)
class OnnxSession:
    """An ONNX file, loaded. widths: of a nested model, what ``use`` switches between."""

    path: Path
    session: Any
    threads: int = 1
    widths: Widths | None = None

    def __post_init__(self) -> None:
        given = self.session.get_inputs()
        object.__setattr__(self, "_inputs", [(i.name, _type(self.path, i)) for i in given])
        object.__setattr__(self, "_outputs", [o.name for o in self.session.get_outputs()])

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """One call: arrays in the file's order, samples first; cast to its types where they differ.

        Raises NetsukeError naming the file where the number or shape of the inputs is wrong.
        """
        wanted: list[tuple[str, str]] = self._inputs  # type: ignore[attr-defined]
        if len(inputs) != len(wanted):
            raise NetsukeError(f"{self.path}: takes {len(wanted)} inputs, got {len(inputs)}")
        feed = {name: np.asarray(x, kind) for (name, kind), x in zip(wanted, inputs, strict=True)}
        try:
            return tuple(self.session.run(self._outputs, feed))  # type: ignore[attr-defined]
        except Exception as error:  # onnxruntime's errors share no base of their own
            raise NetsukeError(f"{self.path}: cannot run: {_first_line(error)}") from error

    def use(self, bits: int) -> "OnnxSession":
        """Switch a nested model to another width of its weights, in place; returns the session.

        Raises NetsukeError where the file has no such width.
        """
        if self.widths is None:
            raise NetsukeError(f"{self.path}: has one width; quantize.nested makes several")
        made = _loaded(self.path, self.widths.content(bits), _options(self.threads))
        object.__setattr__(self, "session", made)
        return self


def _keep_widths(model: Model, path: Path, full: bytes) -> None:
    """Write what a nested model is at its other widths beside the file."""
    from netsuke.nets.onnx_out import export_onnx
    from netsuke.nets.quantizers.nested import at_width, widths_of

    others = {
        bits: export_onnx(replace(model, network=at_width(model.network, bits))).content
        for bits in widths_of(model.network)[1:]
    }
    if others:
        _widths.write(path, full, others)


def left_float(made: "Exported") -> tuple[str, ...]:
    """What was meant for INT8 and runs in float all the same, by the user's name for the layer."""
    if not made.integer:
        return ()
    import tempfile

    import onnx

    with tempfile.TemporaryDirectory() as folder:
        options = _options(1)
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        try:
            onnxruntime.InferenceSession(made.readable, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no base of their own
            raise NetsukeError(
                f"onnxruntime: refuses the exported model: {_first_line(error)}"
            ) from error
        nodes = onnx.load(options.optimized_model_filepath).graph.node
    found = []
    for node in nodes:
        # the optimizer may rename what it fuses, but keeps the name of the value it gives
        names = {node.name.removesuffix("_nchwc"), *(o.rpartition(":")[0] for o in node.output)}
        meant = names & made.integer
        if node.op_type in FLOAT_KERNELS and meant:
            layer, _, kind = meant.pop().rpartition("/")
            found.append(f"{layer}: {kind.partition('.')[0]} was meant for INT8 and stayed float")
    return tuple(found)


def _options(threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = QUIET
    # A spinning thread burns a core, and its CPU time, while it waits.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _session(path: Path, options: Any) -> Any:
    if not path.is_file():
        raise NetsukeError(f"{path}: there is no such file")
    return _loaded(path, str(path), options)


def _loaded(path: Path, given: str | bytes, options: Any) -> Any:
    """A session of a file or its content; path: for the message."""
    try:
        return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base of their own
        raise NetsukeError(f"{path}: is no ONNX file that can run: {_first_line(error)}") from error


def _type(path: Path, port: Any) -> str:
    if port.type not in TYPES:
        raise NetsukeError(f"{path}: input {port.name} is a {port.type}, which is no array")
    return TYPES[port.type]


def _made_up(path: Path, session: Any) -> dict[str, Array]:
    """Inputs of its shapes: normal values for floats, ones for whole numbers; what is free counts as 1."""
    draw, made = np.random.default_rng(0), {}
    for port in session.get_inputs():
        shape = tuple(size if isinstance(size, int) else 1 for size in port.shape)
        kind = np.dtype(_type(path, port))
        made[port.name] = (
            draw.standard_normal(shape).astype(kind) if kind.kind == "f" else np.ones(shape, kind)
        )
    return made


def _shape(sizes: Sequence[Any]) -> tuple[int, ...]:
    """A shape without the batch; what is free counts as 1."""
    return tuple(s if isinstance(s, int) else 1 for s in sizes[1:])


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
