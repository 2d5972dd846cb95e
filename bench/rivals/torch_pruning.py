"""Torch-Pruning on a CIFAR ResNet. Run by its own environment; it prunes and saves, trains nothing.

Its dependency graph takes a slice-and-pad shortcut for an elementwise operation and cuts the wrong
channels. It is given its own way around, ``customized_pruners``: the shortcut becomes a module with
its wiring written out (Select), which loses rows and columns like a layer, adds nothing to any
importance, and lets the widths of the stages differ freely.

Request: state (safetensors), images and classes (npy, for Taylor's gradients), importance
("magnitude" | "taylor"), scope ("global" | "uniform" | "inner": global, residual stream left alone),
round_to (int or null), iterative (one step a ratio, else each ratio at once), ratios, folder. Reply: files (one state per ratio), version, seconds.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
import torch_pruning as tp
from bench._resnet import ResNet, Select, from_state, with_selects
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

IMPORTANCE = {
    "magnitude": lambda: tp.importance.GroupMagnitudeImportance(p=2),
    "taylor": tp.importance.GroupTaylorImportance,
}


class SelectPruner(tp.BasePruningFunc):
    """How Torch-Pruning cuts a Select: rows are its output channels, columns its input channels."""

    def prune_out_channels(self, layer: Select, idxs: list[int]) -> nn.Module:
        return _cut(layer, 0, idxs)

    def prune_in_channels(self, layer: Select, idxs: list[int]) -> nn.Module:
        return _cut(layer, 1, idxs)

    def get_out_channels(self, layer: Select) -> int:
        return layer.weight.shape[0]

    def get_in_channels(self, layer: Select) -> int:
        return layer.weight.shape[1]


def _cut(layer: Select, axis: int, idxs: list[int]) -> nn.Module:
    keep = [i for i in range(layer.weight.shape[axis]) if i not in set(idxs)]
    layer.weight = nn.Parameter(
        layer.weight.data.index_select(axis, torch.tensor(keep)), requires_grad=False
    )
    return layer


def prune(request: dict[str, Any], gradients: dict[str, Tensor]) -> Iterator[ResNet]:
    """The network at each ratio: each from the original, or one on from the other (iterative)."""
    if request["iterative"]:
        net, pruner = _pruner(request, gradients, request["ratios"][-1], len(request["ratios"]))
        for _ in request["ratios"]:
            pruner.step()
            yield net
        return
    for ratio in request["ratios"]:
        net, pruner = _pruner(request, gradients, ratio, 1)
        pruner.step()
        yield net


def _pruner(
    request: dict[str, Any], gradients: dict[str, Tensor], ratio: float, steps: int
) -> tuple[ResNet, tp.pruner.BasePruner]:
    net = with_selects(from_state(load_file(request["state"])))
    for name, parameter in net.named_parameters():
        parameter.grad = gradients.get(name)
    return net, tp.pruner.BasePruner(
        net,
        torch.zeros(2, 3, 32, 32),
        importance=IMPORTANCE[request["importance"]](),
        global_pruning=request["scope"] != "uniform",
        pruning_ratio=ratio,
        iterative_steps=steps,
        # As many steps as ratios, at those ratios.
        iterative_pruning_ratio_scheduler=lambda last, n: (
            [0.0, *request["ratios"]] if n > 1 else [0.0, last]
        ),
        # A layer emptied by a global threshold would cut the network in two.
        max_pruning_ratio=0.9,
        round_to=request["round_to"],
        ignored_layers=[net.linear, *(_stream(net) if request["scope"] == "inner" else [])],
        customized_pruners={Select: SelectPruner()},
    )


def _stream(net: ResNet) -> list[nn.Module]:
    """What writes the residual stream."""
    return [net.conv1, *(block.conv2 for block in net.blocks())]


def gradients(request: dict[str, Any]) -> dict[str, Tensor]:
    """Gradients of the loss over all samples, in evaluation mode, by parameter: what Taylor needs."""
    if request["importance"] != "taylor":
        return {}
    net = with_selects(from_state(load_file(request["state"])))
    images, classes = np.load(request["images"]), np.load(request["classes"])
    for start in range(0, len(images), 100):
        x, y = (
            torch.from_numpy(images[start : start + 100]),
            torch.from_numpy(classes[start : start + 100]),
        )
        (nn.functional.cross_entropy(net(x), y, reduction="sum") / len(images)).backward()
    return {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


def main(asked: str, answered: str) -> None:
    torch.set_num_threads(1)
    request = json.loads(Path(asked).read_text("utf8"))
    folder = Path(request["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    start, files = time.perf_counter(), []
    found = gradients(request)
    for ratio, net in zip(request["ratios"], prune(request, found), strict=True):
        path = folder / f"{ratio:.4f}.safetensors"
        save_file({k: v.detach().contiguous() for k, v in net.state_dict().items()}, path)
        files.append(str(path))
    reply = {"files": files, "version": tp.__version__, "seconds": time.perf_counter() - start}
    Path(answered).write_text(json.dumps(reply), "utf8")


if __name__ == "__main__":
    main(*sys.argv[1:])
