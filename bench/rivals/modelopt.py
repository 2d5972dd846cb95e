"""ModelOpt's FastNAS on a CIFAR ResNet. Run by its own environment; it prunes and saves, trains nothing.

FastNAS measures once how much accuracy each width of each layer costs alone, then takes for any bound
on the FLOPs the threshold on that cost which just meets it. The measuring is kept as its checkpoint,
so that every further bound costs seconds.

What it is given in its favour: the slice-and-pad shortcut as a 1×1 convolution with the wiring for
weights (it takes ``pad`` for an operation that keeps channels) and the classifier as another (it holds
the width before any linear layer), which leaves the widths of all stages free; widths in multiples as
asked (its default of 32 only the last layers could meet); batch norms measured anew for every width
tried, which takes 50 batches (its queue: with fewer it does not measure) and a score that calls
``eval`` (what sets it off), and once more for every network saved.

Request: state (safetensors), images (npy, float32 NCHW: for the batch norms), scored_images and
scored_classes (npy, int64: what the accuracy is scored on), scope ("global" | "inner": residual stream
left alone), divisor (of widths), shares (upper bounds of the FLOPs, parts of 1, falling), folder.
Reply: files (share → state; no share that cannot be met), version, scored (how many times), searched
and seconds (of the measuring, of everything).
"""

import contextlib
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import modelopt
import modelopt.torch.prune as mtp
import numpy as np
import torch
from bench._resnet import ResNet, Select, from_state, with_selects
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

BATCHES, BATCH = 50, 20
"""As many batches as its queue holds, and images in each (fewer where there are fewer)."""


class Score:
    """Share of right answers; counts how often it is asked."""

    def __init__(self, images: np.ndarray, classes: np.ndarray) -> None:
        self.x, self.y, self.asked = torch.from_numpy(images), torch.from_numpy(classes), 0

    @torch.no_grad()
    def __call__(self, net: nn.Module) -> float:
        self.asked += 1
        net.eval()
        found = torch.cat([net(part).argmax(1) for part in self.x.split(100)])
        return float((found == self.y).float().mean())


class Convolved(nn.Module):
    """A ResNet whose shortcuts and classifier are convolutions; every other part is the same one."""

    def __init__(self, net: ResNet) -> None:
        super().__init__()
        for name, child in net.named_children():
            self.add_module(name, child)
        for block in net.blocks():
            if isinstance(block.shortcut, Select):
                block.shortcut = _conv(block.shortcut.weight, stride=2)
        self.linear = _conv(net.linear.weight[:, :, None, None], net.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(functional.adaptive_avg_pool2d(x, 1)).flatten(1)


def _conv(weight: Tensor, bias: Tensor | None = None, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], 1, stride, bias=bias is not None)
    conv.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
    return conv


def state_of(net: nn.Module) -> dict[str, Tensor]:
    """Its state as ``bench._resnet`` reads it."""
    state = {name: value.detach().contiguous() for name, value in net.state_dict().items()}
    return {**state, "linear.weight": state["linear.weight"].flatten(1)}


def rules(scope: str, divisor: int) -> dict[str, Any]:
    """FastNASConfig's: every multiple of ``divisor`` up to 64 is a width. A shortcut without a rule
    holds the stages on both its sides."""
    shares = tuple((i + 1) / 64 for i in range(64))
    conv = {"channels_ratio": shares, "channel_divisor": divisor, "kernel_size": ()}
    flat = {"features_ratio": shares, "feature_divisor": divisor}
    held = {"*shortcut*": None} if scope == "inner" else {}
    return {"nn.Conv2d": {"*": conv, **held}, "nn.BatchNorm2d": {"*": flat}}


def prune(
    request: dict[str, Any], share: float, score: Score, batches: list[Tensor] | None = None
) -> nn.Module:
    """The network with at most ``share`` of the FLOPs. Raises ValueError where there is none.

    batches: images to measure batch norms on; needed until the checkpoint is there.
    """
    config = {
        "data_loader": batches,
        "collect_func": lambda batch: batch,
        "score_func": score,
        "checkpoint": str(Path(request["folder"]) / "search.pth"),
        "verbose": False,
    }
    mode = [("fastnas", rules(request["scope"], request["divisor"]))]
    bound = {"flops": f"{100 * share}%"}
    sample = torch.zeros(1, 3, 32, 32)
    net = Convolved(with_selects(from_state(load_file(request["state"]))))
    found: nn.Module = mtp.prune(net, mode, bound, sample, config)[0]
    return found


@torch.no_grad()
def measured(net: nn.Module, batches: list[Tensor]) -> nn.Module:
    """Its batch norms measured anew, in place."""
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    net.train()
    for batch in batches:
        net(batch)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
    return net.eval()


def every(request: dict[str, Any], score: Score) -> tuple[dict[str, str], float]:
    """A state for each share that can be met; seconds of the measuring."""
    folder = Path(request["folder"])
    # One of an earlier request may have been scored on other images.
    (folder / "search.pth").unlink(missing_ok=True)
    images = torch.from_numpy(np.load(request["images"]))
    batches = list(images.split(min(BATCH, len(images) // BATCHES)))[:BATCHES]
    start, files = time.perf_counter(), {}
    prune(request, 1.0, score, batches)
    searched = time.perf_counter() - start
    for share in request["shares"]:
        try:
            net = measured(prune(request, share, score), batches)
        except ValueError as error:
            if "constraints" not in str(error):
                raise
            break
        path = folder / f"{share:.4f}.safetensors"
        save_file(state_of(net), path)
        files[str(share)] = str(path)
    return files, searched


def main(asked: str, answered: str) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    request = json.loads(Path(asked).read_text("utf8"))
    Path(request["folder"]).mkdir(parents=True, exist_ok=True)
    score = Score(np.load(request["scored_images"]), np.load(request["scored_classes"]))
    start = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        files, searched = every(request, score)
    reply = {
        "files": files,
        "version": modelopt.__version__,
        "scored": score.asked,
        "searched": searched,
        "seconds": time.perf_counter() - start,
    }
    Path(answered).write_text(json.dumps(reply), "utf8")


if __name__ == "__main__":
    main(*sys.argv[1:])
