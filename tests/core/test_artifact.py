"""Artifacts."""

import hashlib
import json
from pathlib import Path

from netsuke.core.artifact import Artifact, sha256
from netsuke.core.layer import Layer


def test_it_round_trips_through_json_wherever_its_folder_is():
    layer = Layer(name="conv1", op="conv2d", shape=(8, 4, 4), channels=(3, 8), weight_bits=8)
    artifact = Artifact(
        path=Path("here/model.onnx"), runtime="onnxruntime", sha256="00",
        inputs=(("x", "float32", (3, 4, 4)), ("mask", "int64", ())), layers=(layer,),
        findings=("conv1 stayed float",), alone=True,
    )  # fmt: skip
    data = json.loads(json.dumps(artifact.to_dict()))
    assert data["path"] == "model.onnx"
    assert Artifact.from_dict(data, Path("here")) == artifact


def test_the_hash_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"netsuke" * 1000)
    assert sha256(tmp_path / "a") == hashlib.sha256(b"netsuke" * 1000).hexdigest()
