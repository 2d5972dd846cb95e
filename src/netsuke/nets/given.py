"""A network as a user hands it over, made a Model."""

from pathlib import Path
from typing import Any

from torch import nn

from netsuke.core.errors import NetsukeError
from netsuke.core.model import Model
from netsuke.nets.capture import capture
from netsuke.nets.data import Inputs
from netsuke.nets.onnx_in import from_onnx


def captured(given: Any, example: Inputs, name: str) -> Model:
    """A module, a captured model or the path of an ``.onnx`` file as a Model.

    Raises NetsukeError, naming it, for anything else, and where it does not trace or load.
    """
    if isinstance(given, Model):
        return given
    if isinstance(given, nn.Module):
        return capture(given, example, name)
    if isinstance(given, str | Path) and Path(given).suffix == ".onnx":
        return from_onnx(Path(given))
    if isinstance(given, str | Path):
        raise NetsukeError(f"{given}: a model file must be .onnx; build others in a workload")
    raise NetsukeError(f"{name}: a {type(given).__name__} is no nn.Module, Model or .onnx file")
