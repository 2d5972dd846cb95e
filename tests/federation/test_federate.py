"""Real SuperLinks, SuperNodes and trainers on loopback."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from safetensors import safe_open

WORKLOAD = Path(__file__).parents[1] / "workload_tiny.py"
FRESH = """
import torch
import workload_tiny

task = workload_tiny.task


def model():
    torch.manual_seed(0)
    return workload_tiny.Tiny()
"""
BEGUN = 120.0
MESSAGE = 60_000
"""Bytes that a client's update may have around it, looks for work among them."""


def command(folder: Path, *more: str) -> list[str]:
    workload = folder / "fresh.py"
    workload.write_text(f"import sys\nsys.path.insert(0, {str(WORKLOAD.parent)!r})\n{FRESH}")
    return [
        sys.executable, "-m", "netsuke", "federate", str(workload), "--out", str(folder / "out"), "--clients", "2",
        "--rounds", "4", "--compress", "int8", "--lr", "0.1", *more,
    ]  # fmt: skip


def run(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(folder, *more), capture_output=True, text=True, check=False, timeout=200
    )


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "out" / "federation.json").read_text())


def until_round(folder: Path, number: int, process: subprocess.Popen[Any]) -> None:
    kept, end = folder / "out" / "federation.json", time.monotonic() + BEGUN
    while not (kept.exists() and len(record(folder)["rounds"]) >= number):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def killed_after(folder: Path, rounds: int) -> list[psutil.Process]:
    """Kill a federation after so many rounds, as a power cut would; the processes that it had started."""
    process = subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    until_round(folder, rounds, process)
    crew = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return crew


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """A federation that was killed after its second round and called again: (folder, what the kill left, what was
    said)."""
    folder = tmp_path_factory.mktemp("federation")
    crew = killed_after(folder, 2)
    assert len(crew) >= 4  # a SuperLink, two SuperNodes, a trainer at the least
    left = record(folder)
    with safe_open(folder / "out" / "federation.safetensors", "pt") as file:
        kept = int(
            file.metadata()["rounds"]
        )  # written after the record: what lies between is played again
    assert kept >= len(left["rounds"]) - 1
    left["rounds"] = left["rounds"][:kept]
    _, alive = psutil.wait_procs(crew, timeout=15)
    assert not alive  # nobody is left behind
    done = run(folder)
    assert done.returncode == 0, done.stderr
    return folder, left, done.stdout


def test_a_killed_server_goes_on_after_its_last_round(resumed):
    folder, left, _ = resumed
    rounds = record(folder)["rounds"]
    assert [one["number"] for one in rounds] == [1, 2, 3, 4]
    assert rounds[: len(left["rounds"])] == left["rounds"]


def test_it_learns(resumed):
    folder, _, _ = resumed
    found = record(folder)
    assert found["first"] < 0.7
    assert found["rounds"][-1]["score"] > 0.9
    report = json.loads((folder / "out" / "report.json").read_text())
    quality = next(e for e in report["final"]["evidence"] if e["what"] == "quality")
    assert quality["value"] > 0.9
    assert quality["source"] == "measured"


def test_what_comes_of_it_runs(resumed):
    import onnxruntime

    folder, _, _ = resumed
    session = onnxruntime.InferenceSession(folder / "out" / "model.onnx")
    (name,) = (one.name for one in session.get_inputs())
    shape = [d if isinstance(d, int) else 1 for d in session.get_inputs()[0].shape]
    assert session.run(None, {name: np.zeros(shape, np.float32)})[0].shape == (1, 2)


def test_bytes_are_those_of_int8(resumed):
    folder, _, _ = resumed
    weights, rest = 16 * 9 + 32 * 16 * 9 + 2 * 32, 4 * 16 + 4 * 32 + 2
    each = weights + 2 * -(-weights // 64) + 4 * rest
    for one in record(folder)["rounds"]:
        assert one["up"] == len(one["heard"]) * each
        assert one["up"] < one["wire"][0] < one["up"] + len(one["heard"]) * MESSAGE
        assert one["down"] < one["wire"][1]
        assert one["late"] == []
        assert one["rejected"] == {}


def test_the_page_shows_every_round(resumed):
    folder, _, _ = resumed
    text = (folder / "out" / "federation.html").read_text()
    assert text.count('<tr><td class="n">') == 4
    assert text.count("<svg") == 2
    assert f"{100 * record(folder)['rounds'][2]['score']:.2f}" in text


def test_secrets_are_their_owners_alone(resumed):
    folder, _, _ = resumed
    keys = folder / "out" / "machines" / "keys"
    for path in keys.iterdir():
        readable = path.stat().st_mode & 0o077
        assert bool(readable) == (path.suffix in {".pub", ".pem"}), path


def test_another_federation_is_not_mixed_in(resumed):
    folder, _, _ = resumed
    done = run(folder, "--epochs", "2")
    assert done.returncode == 2
    assert "another model, data or settings" in done.stderr


def test_a_client_that_is_killed_stops_no_round(tmp_path: Path):
    asked = command(tmp_path, "--clients", "3", "--rounds", "12", "--epochs", "2")
    process = subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until_round(tmp_path, 2, process)
    one = next(
        p for p in psutil.Process(process.pid).children(recursive=True)
        if "node" in p.cmdline() and any("client-2" in part for part in p.cmdline())
    )  # fmt: skip
    one.kill()
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said
    rounds = record(tmp_path)["rounds"]
    assert len(rounds) == 12
    assert {len(r["heard"]) for r in rounds} == {2, 3}
    assert "client-2 ended with -9" in said
    assert "started again" in said


LATE = """
import sys

if "node" in sys.orig_argv:
    import time

    from flwr.supernode.nodestate.in_memory_nodestate import InMemoryNodeState as State

    plain = State.create_task

    def create_task(*given, **named):
        made = plain(*given, **named)
        time.sleep(0.5)
        return made

    State.create_task = create_task
"""


def test_a_task_that_is_there_before_its_message_is_answered(tmp_path: Path):
    """Flower's SuperNode has the one before the other; who looks in between finds a task of nothing."""
    (tmp_path / "sitecustomize.py").write_text(LATE)
    asked = command(tmp_path, "--rounds", "2")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        asked, capture_output=True, text=True, check=False, timeout=100, env=environment
    )
    assert done.returncode == 0, done.stderr
    rounds = record(tmp_path)["rounds"]
    assert [len(r["heard"]) for r in rounds] == [2, 2]
    assert min(r["seconds"] for r in rounds) > 0.5


def test_channels_leave_and_weights_become_integers_meanwhile(tmp_path: Path):
    """By a network of fewer channels on four bits, that imitates the network as it came; one client is told apart."""
    done = run(
        tmp_path, "--prune", "0.3", "--bits", "4", "--soft", "0.2", "--rounds", "6", "--strategy", "fedprox",
        "--partition", "dirichlet:5",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "channels looked at anew" in done.stdout
    assert "WARNING" not in done.stdout + done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [step["name"] for step in report["steps"]] == ["federate", "quantize.static"]
    sizes = {
        state: next(e["value"] for e in report[state]["evidence"] if e["what"] == "size")
        for state in ("baseline", "final")
    }
    assert sizes["final"] < sizes["baseline"] / 5
    quality = next(e for e in report["final"]["evidence"] if e["what"] == "quality")
    assert quality["value"] > 0.9
    bits = {layer["weight_bits"] for layer in report["steps"][-1]["layers"] if layer["weights"]}
    assert bits == {4}
    text = (tmp_path / "out" / "report.md").read_text()
    assert "6 rounds of 2 clients" in text
    again = subprocess.run(
        [sys.executable, "-m", "netsuke", "fit", str(tmp_path / "fresh.py"), "--replay", str(tmp_path / "out")], capture_output=True, text=True, check=False
    )  # fmt: skip
    assert again.returncode == 2
    assert "netsuke federate does that again" in again.stderr
