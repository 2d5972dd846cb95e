"""ONNX files cut in two or more: where, what crosses, and what lies between.

Integers cross as integers: behind a QuantizeLinear the cut lies between it and its DequantizeLinear, which is done
again on the other side, so a part of an INT8 network computes with the very kernels of the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from netsuke.core.cut import Cut, Tensor
from netsuke.core.errors import NetsukeError

MOST = 4
"""Tensors that may cross."""
MULTIPLIES = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN"})


@dataclass(frozen=True)
class Sliced:
    """An ONNX model ready to be cut. model: with the shapes of its values."""

    path: Path
    model: Any

    @cached_property
    def _made(self) -> dict[str, Any]:
        """Every value by the node that makes it."""
        return {out: node for node in self.model.graph.node for out in node.output if out}

    @cached_property
    def _inputs(self) -> tuple[str, ...]:
        """Without the weights, which older exporters list besides."""
        held = {w.name for w in self.model.graph.initializer}
        return tuple(i.name for i in self.model.graph.input if i.name not in held)

    @cached_property
    def _moving(self) -> set[str]:
        """Values that depend on the inputs: all others are constants, which every part has for itself."""
        moving = set(self._inputs)
        for node in self.model.graph.node:
            if any(name in moving for name in node.input):
                moving |= set(node.output)
        return moving

    @cached_property
    def _order(self) -> list[Any]:
        return [
            node for node in self.model.graph.node if any(o in self._moving for o in node.output)
        ]

    @cached_property
    def _types(self) -> dict[str, Tensor]:
        graph = self.model.graph
        found = (_tensor(info) for info in (*graph.input, *graph.value_info, *graph.output))
        return {tensor.name: tensor for tensor in found if tensor is not None}

    def cuts(self, layers: Sequence[str] = ()) -> tuple[Cut, ...]:
        """Places that few tensors of known size cross, in order; of several without a product between them that
        which the fewest bytes cross. layers: names of what multiplies, in order, where they are known."""
        inputs = set(self._inputs)
        outputs = {o.name for o in self.model.graph.output}
        found: dict[int, Cut] = {}
        done = 0
        for node, crossing in zip(self._order, self._crossings(), strict=True):
            done += node.op_type in MULTIPLIES
            known = all(name in self._types for name in crossing)
            if (
                known
                and 0 < len(crossing) <= MOST
                and set(crossing) != outputs
                and not set(crossing) <= inputs
            ):
                cut = Cut(_layer(done, layers), tuple(self._types[name] for name in crossing))
                if done not in found or cut.size <= found[done].size:
                    found[done] = cut
        return tuple(found.values())

    def piece(
        self, before: Cut | None, behind: Cut | None
    ) -> tuple[Any, tuple[str, ...], tuple[str, ...]]:
        """(the model between two cuts, what it gives, all that crosses behind it)."""
        from onnx.utils import Extractor

        graph = self.model.graph
        given = before.names if before else self._inputs
        wanted = behind.names if behind else tuple(o.name for o in graph.output)
        gives = tuple(name for name in wanted if name not in given)
        reads = [name for name in given if name in self._read_from(gives, set(given))]
        if not gives or not reads:
            raise NetsukeError(f"{self.path.name}: nothing lies between these cuts")
        made = Extractor(self.model).extract_model(reads, list(gives))
        return made, gives, wanted

    def _crossings(self) -> Iterable[tuple[str, ...]]:
        """Behind each node in order, the values that are needed later, codings taken off them."""
        last: dict[str, int] = {}
        for place, node in enumerate(self._order):
            last |= {name: place for name in node.input if name in self._moving}
        last |= {output.name: len(self._order) for output in self.model.graph.output}
        alive = list(self._inputs)
        for place, node in enumerate(self._order):
            alive = [name for name in (*alive, *node.output) if last.get(name, -1) > place]
            yield tuple(dict.fromkeys(self._coded(name) for name in alive))

    def _coded(self, name: str) -> str:
        """The integers that a value is the worth of, where it is."""
        node = self._made.get(name)
        if (
            node is not None
            and node.op_type == "DequantizeLinear"
            and node.input[0] in self._moving
        ):
            return str(node.input[0])
        return name

    def _read_from(self, wanted: Sequence[str], given: set[str]) -> set[str]:
        """Which of the given values it takes to make those wanted."""
        reads, seen, left = set(), set(), list(wanted)
        while left:
            name = left.pop()
            if name in given:
                reads.add(name)
            elif name in self._made and name not in seen:
                seen.add(name)
                left += self._made[name].input
        return reads


def sliced(path: Path) -> Sliced:
    """Raises NetsukeError where the file is no ONNX model whose shapes can be told."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path)
        return Sliced(
            path, onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        )
    except (DecodeError, onnx.shape_inference.InferenceError, OSError) as error:
        raise NetsukeError(f"{path}: cannot be cut: {str(error).splitlines()[0]}") from error


def _tensor(info: Any) -> Tensor | None:
    """A value whose shape is known but for the batch; None for others."""
    from onnx import helper

    kind = info.type.tensor_type
    if not kind.elem_type or not kind.HasField("shape") or not kind.shape.dim:
        return None
    sizes = [d.dim_value if d.HasField("dim_value") else 0 for d in kind.shape.dim][1:]
    if any(size <= 0 for size in sizes):
        return None
    return Tensor(info.name, helper.tensor_dtype_to_np_dtype(kind.elem_type).name, tuple(sizes))


def _layer(done: int, names: Sequence[str]) -> str:
    """What a place behind so many products is called."""
    if not done:
        return "the input"
    return names[done - 1] if done <= len(names) else f"product {done}"
