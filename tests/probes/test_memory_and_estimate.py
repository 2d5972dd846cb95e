"""Memory of a fresh process, and estimates for a device that is not here."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from netsuke.core.errors import NetsukeError
from netsuke.core.evidence import find
from netsuke.core.footprint import memory_bytes
from netsuke.core.layer import Layer
from netsuke.core.roofline import model_seconds
from netsuke.devices import device
from netsuke.probes.estimate import Estimate
from netsuke.probes.memory import Memory, fresh
from netsuke.testing import samples


def test_a_larger_model_takes_more_memory_and_the_bare_runtime_is_not_counted(tmp_path):
    goal = samples.goal("pi4")
    small, large = (
        samples.subject(samples.classifier(tmp_path / f"{width}.onnx", width))
        for width in (2, 8192)
    )
    (little,) = Memory().measure(small, small, None, goal)
    (much,) = Memory().measure(large, small, None, goal)
    added = large.artifact.path.stat().st_size
    assert 1e6 < little.value < 30e6
    assert added < much.value - little.value < 6 * added
    assert (much.unit, much.device, much.source, much.samples) == ("B", "local", "measured", 3)
    assert "in all" in much.note


def test_a_broken_file_is_an_error_that_names_it(tmp_path):
    artifact = samples.classifier(tmp_path / "a.onnx")
    artifact.path.write_bytes(artifact.path.read_bytes()[:100])
    with pytest.raises(NetsukeError, match=r"a.onnx: does not run in a fresh process: .*a.onnx"):
        fresh(artifact)


def test_an_unknown_runtime_is_an_error(tmp_path):
    artifact = replace(samples.classifier(tmp_path / "a.onnx"), runtime="onnxruntim")
    with pytest.raises(NetsukeError, match="did you mean onnxruntime"):
        fresh(artifact)


@pytest.mark.parametrize("text", ["", "{", "{}", '{"artifact": 3, "folder": "."}'])
def test_the_child_says_in_one_line_what_it_cannot_read(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "netsuke.agent.child", str(tmp_path / "a.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "a.json: not an artifact's description" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_child_tells_what_it_took(tmp_path):
    artifact = samples.classifier(tmp_path / "a.onnx")
    given = {"artifact": artifact.to_dict(), "folder": str(tmp_path)}
    (tmp_path / "a.json").write_text(json.dumps(given))
    code = (
        "import sys; from netsuke.agent.child import main; "
        f"code = main([{str(tmp_path / 'a.json')!r}]); sys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    said = json.loads(done.stdout)
    assert 0 < said["idle"] < said["peak"] < 2e9


LAYERS = (
    Layer(
        name="conv", op="conv2d", weights=9 * 64 * 64, inputs=64 * 1024, outputs=64 * 1024,
        macs=9 * 64 * 64 * 1024, channels=(64, 64),
    ),
    Layer(name="relu", op="relu", inputs=64 * 1024, outputs=64 * 1024),
)  # fmt: skip


def estimated(tmp_path, where, layers=LAYERS):
    artifact = replace(samples.classifier(tmp_path / "a.onnx"), layers=layers)
    subject = samples.subject(artifact)
    return Estimate().measure(subject, subject, None, samples.goal(where))


def test_an_estimate_is_for_the_device_and_says_how_far_off_it_may_be(tmp_path):
    found = estimated(tmp_path, "pi4")
    assert {e.what for e in found} == {"latency_p50", "latency_p95", "memory", "energy"}
    assert {(e.source, e.device) for e in found} == {("estimated", "pi4")}
    for e in found:
        spread = 3.0 if e.what == "energy" else 1.5
        assert (e.low, e.high) == pytest.approx((e.value / spread, e.value * spread))
    seconds = model_seconds(LAYERS, device("pi4"))
    assert find(found, "latency_p50").value == pytest.approx(seconds)
    assert find(found, "latency_p95").value > seconds


def test_this_machine_is_measured_not_estimated(tmp_path):
    assert estimated(tmp_path, "local") == ()


def test_without_layers_nothing_is_estimated(tmp_path):
    assert estimated(tmp_path, "pi4", layers=()) == ()


def test_fewer_bits_are_faster_and_smaller(tmp_path):
    small = tuple(replace(n, weight_bits=8, activation_bits=8) for n in LAYERS)
    for what in ("latency_p95", "memory"):
        before, after = estimated(tmp_path, "pi4"), estimated(tmp_path, "pi4", small)
        assert find(after, what).value < find(before, what).value


@pytest.mark.parametrize(
    "build",
    [
        lambda nn: (nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 1024)),
        lambda nn: [nn.Conv2d(8, 8, 3, padding=1) for _ in range(3)],
        lambda nn: [nn.Conv2d(256, 256, 3, padding=1) for _ in range(2)],
    ],
    ids=["weights of linear layers", "activations", "weights of convolutions"],
)
def test_the_memory_estimate_is_within_its_range_of_what_is_measured(tmp_path, build):
    import torch

    from netsuke.nets.capture import capture
    from netsuke.runtimes.onnxruntime import OnnxRuntime

    net = torch.nn.Sequential(*build(torch.nn))
    first = net[0].weight.shape[1]
    shape = (2, first) if first == 1024 else (2, first, 160 if first == 8 else 7, 160)
    model = capture(net, (torch.zeros(shape),))
    artifact = OnnxRuntime().export(model, device("pi4"), tmp_path / "model.onnx")
    run = [fresh(artifact) for _ in range(2)]
    measured = float(np.mean([r["peak"] - r["idle"] for r in run]))
    assert 1 / 1.5 <= memory_bytes(artifact.layers, device("pi4")) / measured <= 1.5
