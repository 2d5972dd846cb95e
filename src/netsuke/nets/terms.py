"""A graph as plain JSON values, and back, with an allow-list of what it may hold.

A saved graph is data from outside and a loaded one is compiled to Python, so nothing is read but
known operations, and names of a shape that cannot be mistaken for code.
"""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx

import netsuke.nets.quantizers.activations
import netsuke.nets.quantizers.dynamic
import netsuke.nets.quantizers.lookup
import netsuke.nets.quantizers.quantizer  # noqa: F401  they register netsuke's operations
from netsuke.core.errors import NetsukeError
from netsuke.nets.graph import module_name, source

NAMESPACES = ("aten", "netsuke")
PYTHON: dict[str, Callable[..., Any]] = {
    **{f"operator.{f.__name__}": f for f in (
        operator.getitem, operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod,
        operator.truediv, operator.neg, operator.pow, operator.eq, operator.ne, operator.lt,
        operator.le, operator.gt, operator.ge,
    )},
    "torch.sym_max": torch.sym_max, "torch.sym_min": torch.sym_min,
    "torch.sym_float": torch.sym_float, "torch.sym_int": torch.sym_int,
}  # fmt: skip
# Text arguments that choose a way to compute; an operation with any other could reach a file.
CHOICES = frozenset({
    "approximate", "equation", "indexing", "interpolation", "kind", "mode", "ord", "pad_mode", "padding",
    "padding_side", "reduce", "rounding_mode", "side", "UPLO", "norm", "driver",
})  # fmt: skip
OPERATION = re.compile(r"(aten|netsuke)::(\w+)\.(\w+)")
NAME = re.compile(r"[\w\-:/]+(\.[\w\-:/]+)*")
KINDS = {"dtype": torch.dtype, "layout": torch.layout, "memory_format": torch.memory_format}


def describe(node: fx.Node) -> dict[str, Any]:
    """One node as JSON values. Raises NetsukeError for an operation outside the allow-list."""
    return {
        "name": node.name,
        "op": node.op,
        "target": node.target if isinstance(node.target, str) else _spell(node.target),
        "args": [to_json(a) for a in node.args],
        "kwargs": {key: to_json(value) for key, value in node.kwargs.items()},
        "module": module_name(node),
        "source": source(node),
        "dims": node.meta.get("dims"),
    }


def restore(graph: fx.Graph, row: Mapping[str, Any], known: dict[str, fx.Node]) -> None:
    """Append the node that ``row`` describes. Raises NetsukeError or ValueError on what it may not."""
    target: Any = row["target"]
    if row["op"] == "call_function":
        target = _find(target)
    elif row["op"] not in ("placeholder", "get_attr", "output") or not NAME.fullmatch(target):
        raise ValueError(f"node {row['name']!r}: {row['op']} {target!r}")
    if row["op"] == "placeholder" and not target.isidentifier():
        raise ValueError(f"input {target!r}")
    args = tuple(from_json(a, known) for a in row["args"])
    kwargs = {_identifier(key): from_json(value, known) for key, value in row["kwargs"].items()}
    node = graph.create_node(row["op"], target, args, kwargs, name=_identifier(row["name"]))
    node.meta = _metadata(row)
    known[row["name"]] = node


def _metadata(row: Mapping[str, Any]) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    if row["module"]:
        meta["nn_module_stack"] = {row["module"]: (row["module"], "")}
    if row["source"]:
        file, _, line = row["source"].rpartition(":")
        meta["stack_trace"] = f'File "{file}", line {int(line)}, in forward'
    if row["dims"] is not None:
        meta["dims"] = int(row["dims"])
    return meta


def to_json(value: Any) -> Any:
    """An argument; what JSON has no form for becomes an object with one key, its kind."""
    if isinstance(value, fx.Node):
        return {"node": value.name}
    if isinstance(value, tuple | list):
        items = [to_json(v) for v in value]
        return {"tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, float) and value - value != 0:  # JSON has no infinity and no NaN
        return {"float": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, slice):
        return {"slice": [to_json(v) for v in (value.start, value.stop, value.step)]}
    if isinstance(value, torch.device):
        return {"device": str(value)}
    for kind, known in KINDS.items():
        if isinstance(value, known):
            return {kind: str(value).removeprefix("torch.")}
    raise NetsukeError(f"cannot save an argument of type {type(value).__name__}: {value}")


def from_json(value: Any, known: Mapping[str, fx.Node]) -> Any:
    """What ``to_json`` wrote. Raises ValueError or KeyError for anything else."""
    if isinstance(value, list):
        return [from_json(v, known) for v in value]
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "node":
        return known[inner]
    if kind == "tuple":
        return tuple(from_json(v, known) for v in inner)
    if kind == "slice":
        return slice(*(from_json(v, known) for v in inner))
    if kind in ("float", "device"):
        return {"float": float, "device": torch.device}[kind](inner)
    return _constant(kind, inner)


def _constant(kind: str, name: str) -> Any:
    """``torch.float32`` for ("dtype", "float32")."""
    found = getattr(torch, name)
    if not isinstance(found, KINDS[kind]):
        raise ValueError(f"{name} is no {kind}")
    return found


def _spell(target: Any) -> str:
    """The name an operation is saved under."""
    if isinstance(target, torch._ops.OpOverload):
        name = f"{target._schema.name}.{target._overloadname}"
        if _find(name) is target:
            return name
    for name, function in PYTHON.items():
        if target is function:
            return name
    raise NetsukeError(f"cannot save the operation {target}: it is none of {', '.join(NAMESPACES)}")


def _find(name: str) -> Any:
    """The operation of that name. Raises NetsukeError unless it is on the allow-list."""
    if name in PYTHON:
        return PYTHON[name]
    if match := OPERATION.fullmatch(name):
        namespace, packet, overload = match.groups()
        found = getattr(getattr(getattr(torch.ops, namespace), packet, None), overload, None)
        if isinstance(found, torch._ops.OpOverload) and _harmless(found):
            return found
    raise NetsukeError(f"the operation {name!r} is not allowed in a saved model")


def _harmless(target: Any) -> bool:
    texts = {a.name for a in target._schema.arguments if "str" in str(a.type)}
    return texts <= CHOICES


def _identifier(name: str) -> str:
    if not name.isidentifier():
        raise ValueError(f"the name {name!r}")
    return name
