"""NNCF's post-training quantization of an ONNX file. Run by its own environment.

Request: model, images (npy, float32 NCHW), output, preset. Reply: seconds, cpu_seconds, version.
"""

import json
import sys
import time
from pathlib import Path

# No telemetry package, no telemetry: NNCF does without it.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import nncf  # noqa: E402
import numpy as np  # noqa: E402
import onnx  # noqa: E402


def main(asked: str, answered: str) -> None:
    request = json.loads(Path(asked).read_text("utf8"))
    model = onnx.load(request["model"])
    images = np.load(request["images"])
    name = model.graph.input[0].name
    start, cpu = time.perf_counter(), time.process_time()
    data = nncf.Dataset([{name: image[None]} for image in images])
    small = nncf.quantize(
        model,
        data,
        preset=nncf.QuantizationPreset(request["preset"]),
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(images),
    )
    onnx.save(small, request["output"])
    reply = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "version": nncf.__version__,
    }
    Path(answered).write_text(json.dumps(reply), "utf8")


if __name__ == "__main__":
    main(*sys.argv[1:])
