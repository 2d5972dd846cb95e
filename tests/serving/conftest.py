"""A small network, and what it answers."""

import numpy as np
import pytest
import torch
from tests.models import ResNet
from tests.spread import X

from netsuke.core.artifact import Artifact
from netsuke.devices import device
from netsuke.nets.capture import capture
from netsuke.runtimes.onnxruntime import OnnxRuntime


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    torch.manual_seed(0)
    model = capture(ResNet(2).eval(), (torch.zeros(2, 3, 32, 32),), "resnet")
    return OnnxRuntime().export(model, device("pi4"), tmp_path_factory.mktemp("made") / "m.onnx")


@pytest.fixture(scope="module")
def expected(artifact: Artifact) -> list[np.ndarray]:
    session = OnnxRuntime().open(artifact)
    return [session.run((x,))[0] for x in X]
