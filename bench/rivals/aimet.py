"""AIMET's post-training quantization of ResNet-20: BatchNorm folded, layers equalized or not, AdaRound
or nearest rounding. Run by its own environment; not one image leaves it.

It knows modules by their kind, so it gets the network of modules alone, its additions AIMET's own, where
a slice-and-pad shortcut is a convolution whose weights (0 and 1) are exact at 4 bits.

Request: state (safetensors), images and test (npy, float32 NCHW), output (npy), weights (bits),
adaround (iterations a layer, 0 for nearest), equalize, folder. Reply: seconds, cpu_seconds, version;
output: the class of each test image.
"""

import json
import re
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn


def _declare_torchvision() -> torch.library.Library:
    """AIMET imports torchvision and uses none of it here. Its published build does not load beside a
    CPU build of torch for want of its operators: their names are declared."""
    found = find_spec("torchvision")
    assert found is not None
    assert found.origin is not None
    text = (Path(found.origin).parent / "_meta_registrations.py").read_text("utf8")
    named = re.findall(r'register_meta\("(\w+)"|torchvision::(\w+)"', text)
    library = torch.library.Library("torchvision", "DEF")
    for name in {a or b for a, b in named}:
        library.define(f"{name}(Tensor x) -> Tensor")
    return library


_LIBRARY = _declare_torchvision()

from aimet_torch import QuantizationSimModel  # noqa: E402
from aimet_torch.adaround.adaround_weight import Adaround, AdaroundParameters  # noqa: E402
from aimet_torch.batch_norm_fold import fold_all_batch_norms  # noqa: E402
from aimet_torch.cross_layer_equalization import equalize_model  # noqa: E402
from aimet_torch.nn.modules.custom import Add  # noqa: E402
from bench._modular import ModularResNet, classes  # noqa: E402

BATCH = 50


def quantized(request: dict[str, Any], images: Tensor) -> nn.Module:
    """The network with simulated integers: every layer at so many bits, activations at 8."""
    net: nn.Module = ModularResNet(load_file(request["state"]), Add).eval()
    sample, batches = images[:1], images.split(BATCH)
    if request["equalize"]:
        equalize_model(net, dummy_input=sample)
    else:
        fold_all_batch_norms(net, None, dummy_input=sample)
    if request["adaround"]:
        # AIMET wants a DataLoader of inputs.
        loader = torch.utils.data.DataLoader(list(images), batch_size=BATCH)
        plan = AdaroundParameters(loader, len(loader), request["adaround"])
        folder = request["folder"]
        net = Adaround.apply_adaround(
            net, sample, plan, folder, "rounded", default_param_bw=request["weights"]
        )
    sim = QuantizationSimModel(net, sample, default_param_bw=request["weights"])
    if request["adaround"]:
        sim.set_and_freeze_param_encodings(f"{folder}/rounded.encodings")
    sim.compute_encodings(lambda model, _: [model(part) for part in batches], None)
    found: nn.Module = sim.model
    return found.eval()


def main(asked: str, answered: str) -> None:
    torch.set_num_threads(1)
    request = json.loads(Path(asked).read_text("utf8"))
    images, test = (torch.from_numpy(np.load(request[k])) for k in ("images", "test"))
    start, cpu = time.perf_counter(), time.process_time()
    net = quantized(request, images)
    reply = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "version": version("aimet-torch"),
    }
    np.save(request["output"], classes(net, test).numpy())
    Path(answered).write_text(json.dumps(reply), "utf8")


if __name__ == "__main__":
    main(*sys.argv[1:])
