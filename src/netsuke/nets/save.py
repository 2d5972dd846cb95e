"""A Model on disk: the graph as JSON, tensors as safetensors, never pickle.

``network.json`` names its weights file, which is named by its own hash: the last rename makes the
new model whole, and until then the old one is.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor, fx, nn

from netsuke.core.errors import NetsukeError
from netsuke.core.files import beside, write_json
from netsuke.core.model import Model, Step
from netsuke.nets.graph import adopt, persistent, place, tensors
from netsuke.nets.terms import NAME, describe, restore

FORMAT = 1
GRAPH = "network.json"


def save(model: Model, folder: Path) -> None:
    """Write ``model`` into ``folder``, replacing the one that is there.

    Raises NetsukeError for an operation outside the allow-list; what was there is then kept.
    """
    network: fx.GraphModule = model.network
    nodes = [describe(node) for node in network.graph.nodes]
    rows, held = _tensors(network)
    held |= {f"example.{i}": t.contiguous() for i, t in enumerate(model.example)}
    data = safetensors.torch.save(held)
    weights = folder / f"weights-{hashlib.sha256(data).hexdigest()[:32]}.safetensors"
    with beside(weights) as draft:
        draft.write_bytes(data)
    steps = [dataclasses.asdict(step) for step in model.lineage]
    graph = {"format": FORMAT, "name": model.name, "weights": weights.name, "lineage": steps}
    state = {"training": network.training, "inputs": len(model.example), "tensors": rows}
    write_json(folder / GRAPH, {**graph, **state, "nodes": nodes})
    for other in folder.glob("weights-*.safetensors"):
        if other != weights:
            other.unlink()


def load(folder: Path) -> Model:
    """The Model that ``save`` wrote, computing exactly what it did.

    Raises NetsukeError naming the file that is missing, damaged, from a newer version, or that asks
    for an operation which is not allowed.
    """
    path = folder / GRAPH
    data = _read_graph(path)
    try:
        weights = folder / Path(data["weights"]).name
        held = _read_weights(weights)
        root = _root(data["tensors"], held)
        root.train(bool(data["training"]))
        network = fx.GraphModule(root, _graph(data["nodes"], root), class_name="Network")
        adopt(network, root)
        example = tuple(held[f"example.{i}"] for i in range(data["inputs"]))
        lineage = tuple(_step(row) for row in data["lineage"])
        return Model(network=network, example=example, name=str(data["name"]), lineage=lineage)
    except NetsukeError as error:
        named = str(error).startswith(str(folder))
        raise error if named else NetsukeError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise _damaged(path, error) from error


def _read_graph(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf8"))
    except FileNotFoundError as error:
        raise NetsukeError(f"{path}: there is no saved model") from error
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if not isinstance(data, dict) or not isinstance(data.get("format"), int):
        raise NetsukeError(f"{path}: is no saved model: it has no format number")
    if data["format"] > FORMAT:
        raise NetsukeError(
            f"{path}: has format {data['format']}, this netsuke reads up to {FORMAT}; update netsuke"
        )
    return data


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NetsukeError(f"{path}: cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest()[:32] != path.stem.removeprefix("weights-"):
        raise NetsukeError(f"{path}: is damaged: its contents are not what was written")
    return safetensors.torch.load(data)


def _damaged(path: Path, error: Exception) -> NetsukeError:
    return NetsukeError(f"{path}: is damaged: {type(error).__name__}: {error}".splitlines()[0])


def _tensors(network: fx.GraphModule) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What is known of each parameter and buffer, and the distinct tensors themselves."""
    rows: dict[str, Any] = {}
    held: dict[str, Tensor] = {}
    first: dict[int, str] = {}
    for name, tensor in tensors(network):
        owner = first.setdefault(id(tensor), name)
        rows[name] = {
            "parameter": isinstance(tensor, nn.Parameter),
            "requires_grad": tensor.requires_grad,
            "persistent": persistent(network, name),
            "tensor": owner,
        }
        # A copy: two views of one storage would be refused.
        held[f"state.{owner}"] = tensor.detach().clone().contiguous()
    return rows, held


def _root(rows: Mapping[str, Mapping[str, Any]], held: Mapping[str, Tensor]) -> nn.Module:
    """A bare module that holds the parameters and buffers under their names."""
    root = nn.Module()
    made: dict[str, Tensor] = {}
    for name, row in rows.items():
        if not NAME.fullmatch(name):
            raise ValueError(f"the name {name!r}")
        if row["tensor"] not in made:
            tensor = held[f"state.{row['tensor']}"]
            grad = bool(row["requires_grad"])
            made[row["tensor"]] = nn.Parameter(tensor, grad) if row["parameter"] else tensor
        place(root, name, made[row["tensor"]], persistent=bool(row["persistent"]))
    return root


def _graph(rows: list[Mapping[str, Any]], root: nn.Module) -> fx.Graph:
    graph = fx.Graph()
    known: dict[str, fx.Node] = {}
    names = {"training", *(name for name, _ in tensors(root))}
    for row in rows:
        if row["op"] == "get_attr" and row["target"] not in names:
            raise ValueError(f"no tensor {row['target']!r}")
        restore(graph, row, known)
    graph.lint()
    return graph


def _step(row: Mapping[str, Any]) -> Step:
    return Step(
        name=row["name"],
        settings=row["settings"],
        summary=row["summary"],
        notes=tuple(row["notes"]),
        table=row.get("table", {}),
    )
