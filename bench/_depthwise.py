"""Figure 6: where INT8 is known to collapse, and the remedy."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from bench._apply import STATIC
from bench._contest import below, contest
from bench._data import CALIBRATE, load_test, load_train
from bench._export import torch_onnx
from bench._harness import Bench, Claim, Figure
from bench._mobile import Separable, mobilenet, unbalanced
from bench._quantizers import onnxruntime_u8s8
from bench._setup import fastest_of, fit_network, post_training, run_facts

EQUALIZED = '[[pass]]\nuse = "quantize.equalize"\n\n' + STATIC
MINMAX = STATIC + 'estimator = "minmax"\n'
ANY = "100 pt"
"""What a run may lose that is kept to be explained."""
CAUSES = frozenset({"unbalanced channel ranges", "outlier channel"})


def depthwise(bench: Bench) -> Figure:
    """The figure."""
    from netsuke.explain import explain

    test, task = load_test(bench), post_training(bench)
    net = mobilenet(bench)
    skewed = unbalanced(net)
    plain = fit_network(bench, net, (STATIC, task), "quantize6", ANY)
    mended = fit_network(bench, skewed, (EQUALIZED, task), "quantize6-unbalanced", ANY)
    collapsed = fit_network(bench, skewed, (MINMAX, task), "quantize6-collapsed", ANY)
    floats = torch_onnx(skewed, bench.folder("onnx"))
    reference, known = fastest_of(
        bench, plain.baseline.path, torch_onnx(net, bench.folder("onnx")), test[0][:1]
    )
    files = {
        **known, "W8A8": plain.artifact.path, "unbalanced": floats,
        "unbalanced, equalized": mended.artifact.path, "unbalanced, min-max": collapsed.artifact.path,
        "unbalanced, onnxruntime per tensor": _per_tensor(bench, floats),
    }  # fmt: skip
    found = contest(files, reference, test, bench.count(20, 2))
    lost = {name: below(found[reference], entry) for name, entry in found.items()}
    told, scaled = explain(collapsed, task), _scaled(net)
    causes = [f for f in told["findings"] if f["cause"] in CAUSES and f["layer"] in scaled]
    claims = (
        Claim("W8A8 loses", lost["W8A8"]["points"], "pt", "≤", 0.5),
        Claim("FP32 accuracy", 100 * found[reference].accuracy, "%", "≥", 80.0),
        Claim("per tensor min-max on the unbalanced copy loses", lost["unbalanced, onnxruntime per tensor"]["points"], "pt", "≥", 10.0),
        Claim("equalized, the unbalanced copy loses", lost["unbalanced, equalized"]["points"], "pt", "≤", 0.7),
        Claim("explain names a layer and the cause", float(len(causes)), "findings", "≥", 1.0),
    )  # fmt: skip
    apart = _apart(net, skewed, test[0][:200])
    details = {
        "entries": {name: entry.to_dict() for name, entry in found.items()},
        "lost": lost, "explain": {"says": told["says"], "named": causes}, "float_difference_of_the_copy": apart,
        "runs": {"W8A8": run_facts(plain), "equalized": run_facts(mended)},
    }  # fmt: skip
    return Figure("depthwise", claims, len(test[1]), details)


def _per_tensor(bench: Bench, model: Path) -> Path:
    """onnxruntime's quantizer, min-max, one scale a tensor."""
    path = bench.folder("int8") / "unbalanced-per-tensor.onnx"
    images = load_train(bench).part(CALIBRATE)[0]
    onnxruntime_u8s8(model, images[: bench.count(500, 50)], path, per_channel=False)
    return path


def _scaled(net: nn.Module) -> list[str]:
    """Names of the layers between which the copy was rescaled."""
    blocks = [n for n, m in net.named_modules() if isinstance(m, Separable)]
    return ["conv", *(f"{n}.{part}" for n in blocks for part in ("depth", "point"))]


@torch.no_grad()
def _apart(one: nn.Module, other: nn.Module, x: np.ndarray) -> float:
    """The largest difference of two networks' outputs."""
    images = torch.from_numpy(x)
    return float((one(images) - other(images)).abs().max())
