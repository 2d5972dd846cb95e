"""Brevitas' post-training quantization of ResNet-20, as its own ImageNet example does it: BatchNorm
merged, layers equalized, scales from calibration, GPTQ, bias correction. Run by its own environment.

It sees modules, and its quantized values cannot be sliced, so it gets the network of modules alone,
where a slice-and-pad shortcut is a convolution whose weights (0 and 1) are exact at 4 bits.

Request: state (safetensors), images and test (npy, float32 NCHW), output (npy), weights (bits), gptq,
range ("mse" | "stats"). Reply: seconds, cpu_seconds, version; output: the class of each test image.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import brevitas
import numpy as np
import torch
from bench._modular import ModularResNet, classes
from brevitas.graph.quantize import preprocess_for_quantize
from brevitas_examples.imagenet_classification.ptq.ptq_common import (
    apply_bias_correction,
    apply_gptq,
    calibrate,
    quantize_model,
)
from safetensors.torch import load_file
from torch import Tensor

BATCH = 50
if not hasattr(Tensor, "rename"):
    # Brevitas drops the names of dimensions, which this torch no longer has: nothing to drop.
    Tensor.rename = lambda self, *_: self  # type: ignore[attr-defined]


def quantized(request: dict[str, Any], images: Tensor) -> Any:
    """The network with simulated integers: every layer at so many bits, activations at 8."""
    batches = [(part, part) for part in images.split(BATCH)]
    net: Any = ModularResNet(load_file(request["state"])).eval()
    net = preprocess_for_quantize(net, equalize_iters=20, equalize_merge_bias=True, merge_bn=True)
    net = quantize_model(
        net,
        backend="fx",
        weight_bit_width=request["weights"],
        act_bit_width=8,
        bias_bit_width=32,
        weight_quant_granularity="per_channel",
        act_quant_percentile=99.999,
        act_quant_type="asym",
        scale_factor_type="float_scale",
        quant_format="int",
        weight_param_method=request["range"],
    )
    with torch.no_grad():
        net(images[:BATCH])  # some weight scales are set by the first call
    calibrate(batches, net)
    if request["gptq"]:
        with torch.no_grad():
            apply_gptq(batches, net, act_order=True)
    apply_bias_correction(batches, net)
    return net.eval()


def main(asked: str, answered: str) -> None:
    torch.set_num_threads(1)
    request = json.loads(Path(asked).read_text("utf8"))
    images, test = (torch.from_numpy(np.load(request[k])) for k in ("images", "test"))
    start, cpu = time.perf_counter(), time.process_time()
    net = quantized(request, images)
    reply = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "version": brevitas.__version__,
    }
    np.save(request["output"], classes(net, test).numpy())
    Path(answered).write_text(json.dumps(reply), "utf8")


if __name__ == "__main__":
    main(*sys.argv[1:])
