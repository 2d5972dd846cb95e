"""What every runtime must hold to."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from netsuke.core.artifact import Artifact, sha256
from netsuke.core.device import Device
from netsuke.core.errors import NetsukeError
from netsuke.core.model import Model
from netsuke.core.runtime import Runtime
from netsuke.devices import device as find_device
from netsuke.testing import samples


class RuntimeConformance:
    """Give the fixture ``plugin``: a runtime. Set ``exact`` to False for one that runs nothing, whose
    outputs need only be finite."""

    exact = True

    @pytest.fixture
    def plugin(self) -> Runtime:
        raise NotImplementedError("give the fixture plugin: the runtime to test")

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls) -> Model:
        return samples.network()

    @pytest.fixture(scope="class")
    @classmethod
    def device(cls) -> Device:
        return find_device("pi4")

    @pytest.fixture
    def artifact(self, plugin: Runtime, model: Model, device: Device, tmp_path: Path) -> Artifact:
        return plugin.export(model, device, tmp_path / "model.onnx")

    def test_importing_it_needs_no_torch(self, plugin: Runtime) -> None:
        code = f"import {type(plugin).__module__}, sys; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

    def test_export_describes_the_file_it_wrote(
        self, plugin: Runtime, artifact: Artifact, model: Model
    ) -> None:
        assert artifact.runtime == plugin.name
        assert artifact.sha256 == sha256(artifact.path)
        assert [tuple(shape) for _, _, shape in artifact.inputs] == [
            tuple(x.shape[1:]) for x in model.example
        ]
        assert [np.dtype(kind).name for _, kind, _ in artifact.inputs] == ["float32"]

    def test_export_leaves_nothing_else_behind(self, artifact: Artifact) -> None:
        assert list(artifact.path.parent.iterdir()) == [artifact.path]

    def test_its_description_round_trips_through_json(self, artifact: Artifact) -> None:
        text = json.dumps(artifact.to_dict())
        assert Artifact.from_dict(json.loads(text), artifact.path.parent) == artifact

    def test_the_same_model_gives_the_same_file(
        self, plugin: Runtime, model: Model, device: Device, artifact: Artifact, tmp_path: Path
    ) -> None:
        again = plugin.export(model, device, tmp_path / "again.onnx")
        assert again.sha256 == artifact.sha256

    @pytest.mark.parametrize("count", [1, 3])
    def test_it_takes_any_number_of_samples(
        self, plugin: Runtime, artifact: Artifact, count: int
    ) -> None:
        outputs = plugin.open(artifact).run((samples.images(count)[0],))
        assert isinstance(outputs, tuple)
        assert outputs[0].shape == (count, samples.CLASSES)

    def test_it_gives_what_the_network_gives(
        self, plugin: Runtime, artifact: Artifact, model: Model
    ) -> None:
        import torch

        x, _ = samples.images(16, 5)
        if not self.exact:
            assert np.isfinite(plugin.open(artifact).run((x,))[0]).all()
            return
        with torch.no_grad():
            expected = model.network.eval()(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(plugin.open(artifact).run((x,))[0], expected, atol=1e-4)

    def test_the_same_input_gives_the_same_output(
        self, plugin: Runtime, artifact: Artifact
    ) -> None:
        x, _ = samples.images(4)
        first, second = plugin.open(artifact), plugin.open(artifact, threads=2)
        np.testing.assert_array_equal(first.run((x,))[0], first.run((x,))[0])
        np.testing.assert_allclose(first.run((x,))[0], second.run((x,))[0], atol=1e-5)

    def test_a_truncated_file_is_an_error_of_one_line_that_names_it(
        self, plugin: Runtime, artifact: Artifact, tmp_path: Path
    ) -> None:
        whole = artifact.path.read_bytes()
        short = tmp_path / "short.onnx"
        short.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(NetsukeError, match=r"short\.onnx") as error:
            plugin.open(replace(artifact, path=short))
        assert "\n" not in str(error.value)

    def test_a_missing_file_is_an_error_that_names_it(
        self, plugin: Runtime, artifact: Artifact, tmp_path: Path
    ) -> None:
        with pytest.raises(NetsukeError, match=r"none\.onnx"):
            plugin.open(replace(artifact, path=tmp_path / "none.onnx"))
