"""A Model on disk: the graph as JSON, tensors as safetensors, never pickle.

``network.json`` names its weights file, which is named by its own hash: the last rename makes the
new model whole, and until then the old one is.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, fx, nn

from netsuke.core.artifact import sha256
from netsuke.core.errors import NetsukeError
from netsuke.core.files import beside, write_json
from netsuke.core.model import Model, Step
from netsuke.nets.graph import persistent, place, tensors
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
    examples = {f"example.{i}": t.contiguous() for i, t in enumerate(model.example)}
    with beside(folder / "weights.safetensors") as draft:
        save_file({**held, **examples}, draft)
        name = f"weights-{sha256(draft)[:16]}.safetensors"
        draft.replace(folder / name)
        draft.touch()  # what ``beside`` renames; the weights are at their own name already
    write_json(folder / GRAPH, {})
