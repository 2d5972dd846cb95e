"""onnxruntime's own static quantizer, in the form that runs fastest on x86: unsigned activations,
signed weights per channel, QDQ (its S8S8 defaults run slower than FP32)."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, name: str, images: np.ndarray) -> None:
        self._feeds = iter([{name: image[None]} for image in images])

    def get_next(self) -> Any:
        return next(self._feeds, None)


def onnxruntime_u8s8(
    model: Path, images: np.ndarray, output: Path, per_channel: bool = True
) -> None:
    """Write ``output``, the model in INT8, calibrated (min-max) on float32 NCHW images."""
    ready = output.with_suffix(".ready.onnx")
    quant_pre_process(str(model), str(ready), auto_merge=True)
    name = onnx.load(str(ready)).graph.input[0].name
    quantize_static(
        str(ready),
        str(output),
        _Reader(name, images),
        quant_format=QuantFormat.QDQ,
        per_channel=per_channel,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    ready.unlink()
