"""What a user gets wrong: one line that names the place and the mend, exit code 2, nothing left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

TINY = Path(__file__).parent / "workload_tiny.py"
HEAD = """
import numpy as np, torch, netsuke
from torch import nn
def arrays(n, dtype=np.float32): return np.zeros((n, 1, 8, 8), dtype), np.zeros(n, np.int64)
def task(): return netsuke.Task(validate=arrays(8), test=arrays(8))
def model(): return nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 2))
"""

WRONG = {
    "data-dependent branch": (
        "class Net(nn.Module):\n    def forward(self, x):\n        return x if x.sum() > 0 else -x\n"
        "def model(): return Net()",
        ("mine.py:",),
    ),
    "shape the model refuses": (
        "def task(): return netsuke.Task(validate=(np.zeros((8, 3, 8, 8), np.float32), np.zeros(8, int)))",
        ("(2, 3, 8, 8)", "1 channels"),
    ),
    "dtype the model refuses": (
        "def task(): return netsuke.Task(validate=(np.zeros((8, 1, 8, 8), np.uint8), np.zeros(8, int)))",
        ("uint8",),
    ),
    "labels out of range": (
        "def task(): return netsuke.Task(validate=(arrays(8)[0], np.full(8, 7)), test=arrays(8))",
        ("validate", "7"),
    ),
    "NaN in the weights": (
        "_m = model\ndef model():\n    net = _m()\n    net[0].weight.data[0] = float('nan')\n    return net",
        ("0.weight",),
    ),
    "NaN in the data": (
        "def task(): return netsuke.Task(validate=(np.full((8, 1, 8, 8), np.nan, np.float32), np.zeros(8, int)))",
        ("validate", "NaN"),
    ),
    "empty calibration set": (
        "def task(): return netsuke.Task(calibrate=np.zeros((0, 1, 8, 8), np.float32), validate=arrays(8))",
        ("calibrate", "no samples"),
    ),
    "calibration data of another shape": (
        "def task(): return netsuke.Task(calibrate=np.zeros((8, 1, 9, 8), np.float32), validate=arrays(8))",
        ("calibrate", "(1, 9, 8)"),
    ),
    "infinite calibration data": (
        "def task(): return netsuke.Task(calibrate=np.full((8, 1, 8, 8), np.inf, np.float32), validate=arrays(8))",
        ("calibrate", "infinite"),
    ),
    "inputs and targets of different lengths": (
        "def task(): return netsuke.Task(validate=(arrays(8)[0], np.zeros(5, int)))",
        ("validate", "differ in length"),
    ),
    "nothing to judge on": ("def task(): return netsuke.Task()", ("validate",)),
    "unknown metric": (
        "def task(): return netsuke.Task(validate=arrays(8), metric='acuracy')",
        ("acuracy", "accuracy"),
    ),
}  # fmt: skip


def assert_refused(said, *words: str) -> None:
    assert said.code == 2, said
    assert said.err.startswith("netsuke: ")
    assert said.err.count("\n") == 1
    for word in words:
        assert word in said.err
    left = [p for p in Path("runs").rglob("*") if p.is_file()]
    assert not left, left


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_workload(case: str, netsuke: Callable, tmp_path: Path) -> None:
    text, words = WRONG[case]
    (tmp_path / "mine.py").write_text(HEAD + text, encoding="utf8")
    assert_refused(netsuke("fit", "mine.py"), *words)


def test_an_unknown_device_lists_near_names(netsuke: Callable) -> None:
    assert_refused(netsuke("fit", TINY, "--device", "pi44"), "pi44", "pi4")


@pytest.mark.parametrize(
    ("limit", "word"), [("100 parsecs", "parsecs"), ("100", "no unit"), ("-3 KB", "zero or more")]
)
def test_a_wrong_unit(limit: str, word: str, netsuke: Callable) -> None:
    assert_refused(netsuke("fit", TINY, "--size", limit), "size", word)


def test_a_wrong_recipe(netsuke: Callable, tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    for text, words in {
        '[[pass]]\nuse = "prune.chanels"': ("r.toml", "prune.channels"),
        '[[pass]]\nuse = "prune.channels"\nratoi = 0.3': ("ratoi", "ratio"),
        '[[pass]]\nuse = "prune.channels"\nratio = 3': ("prune.channels.ratio", "outside"),
        "": ("r.toml", "no [[pass]]"),
    }.items():
        recipe.write_text(text, encoding="utf8")
        assert_refused(netsuke("fit", TINY, "--recipe", recipe), *words)


def test_a_corrupt_or_truncated_onnx_file(netsuke: Callable, tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    whole = model.SerializeToString()
    for name, data in {"cut.onnx": whole[:-7], "noise.onnx": bytes(range(256)) * 4}.items():
        (tmp_path / name).write_bytes(data)
        assert_refused(netsuke("inspect", tmp_path / name), name)
        assert_refused(netsuke("measure", tmp_path / name), name)
    assert_refused(netsuke("inspect", tmp_path / "none.onnx"), "none.onnx")


def test_an_onnx_operation_that_cannot_be_handled(netsuke: Callable, tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    node = helper.make_node("Bernoulli", ["x"], ["y"], name="coin")
    graph = helper.make_graph([node], "g", [x], [y])
    path = tmp_path / "odd.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path
    )
    assert_refused(netsuke("inspect", path), "odd.onnx", "coin", "Bernoulli")


def test_a_run_from_a_newer_version(netsuke: Callable, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "manifest.json").write_text('{"format": 99}')
    for verb in ("judge", "report", "measure"):
        assert_refused(netsuke(verb, tmp_path / "new"), "newer Netsuke", "99")


def test_a_full_disk_leaves_nothing_half_written(netsuke: Callable, tmp_path: Path) -> None:
    """A file-size limit of the process stands for the disk: writes past it fail as on a full one."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000));"
        f"sys.argv = ['netsuke', 'fit', {str(TINY)!r}, '--out', 'out']; from netsuke.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 2, done
    assert "nothing is half-written" in done.stderr.splitlines()[-1]
    assert not [
        p for p in (tmp_path / "out").rglob("*") if p.is_file() and p.name != "progress.json"
    ]


def test_a_killed_fit_resumes(tmp_path: Path) -> None:
    """SIGKILL in mid-run; the same command then ends with a whole run."""
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        '[[pass]]\nuse = "prune.channels"\ncost = "macs"\nepochs = 1\n[[pass]]\nuse = "quantize.static"\n',
        encoding="utf8",
    )
    command = [
        sys.executable,
        "-m",
        "netsuke",
        "fit",
        str(TINY),
        "--recipe",
        str(recipe),
        "--out",
        "out",
    ]
    first = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    progress = tmp_path / "out" / "progress.json"
    deadline = time.monotonic() + 120
    while not progress.exists() and time.monotonic() < deadline and first.poll() is None:
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert progress.exists()
    again = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
    )
    assert again.returncode in (0, 3), again
    assert "prune.channels" not in again.stdout.split("baseline")[1].split("quantize.static")[0]
    assert (tmp_path / "out" / "manifest.json").exists()
    assert not (tmp_path / "out" / "steps").exists()


def test_a_finished_run_is_not_written_over(netsuke: Callable, tmp_path: Path) -> None:
    folder = tmp_path / "done"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    said = netsuke("fit", TINY, "--out", folder)
    assert said.code == 2
    assert "holds a finished run" in said.err
