"""torch.onnx's own export, the form rivals start from."""

import hashlib
import logging
import warnings
from pathlib import Path

import torch
from torch import nn

OPSET = 21


IMAGE = (torch.zeros(2, 3, 32, 32),)


def torch_onnx(net: nn.Module, folder: Path, example: tuple[torch.Tensor, ...] = IMAGE) -> Path:
    """The network as ``folder/HASH.onnx`` (any batch; input "input" where it has one, output
    "output"); made once for the same architecture, weights and shapes, for it takes seconds."""
    path = folder / f"{_digest(net, example)}.onnx"
    if path.is_file():
        return path
    # onnxscript warns of every constant that it tries to fold and cannot.
    for name in ("torch.onnx", "onnxscript"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            net.eval(),
            example,
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=["input"] if len(example) == 1 else None,
            output_names=["output"],
            dynamic_shapes=tuple({0: torch.export.Dim("batch")} for _ in example),
        )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    beside = path.with_suffix(".part")
    program.save(str(beside))
    beside.replace(path)
    return path


def _digest(net: nn.Module, example: tuple[torch.Tensor, ...]) -> str:
    shapes = [tuple(part.shape) for part in example]
    found = hashlib.sha256(f"{torch.__version__} {OPSET} {net} {shapes}".encode())
    for name, value in sorted(net.state_dict().items()):
        found.update(name.encode())
        found.update(value.detach().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
