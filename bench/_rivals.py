"""Rival tools, each in an environment of its own: ``.rivals/NAME``, made on first use from
``bench/rivals/NAME.txt``, running ``bench/rivals/NAME.py``.

A rival exchanges files with us: the request is a JSON file, its reply another beside it, what is
large (images, networks) goes by path as npz, ONNX or safetensors.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench._harness import ROOT, say

RIVALS = ROOT / "bench" / "rivals"
ENVIRONMENTS = ROOT / ".rivals"
# NNCF reports use by default; a CI run is told apart by these, and then it does not.
SILENT = {"NNCF_CI": "1", "CI": "true"}


class RivalMissingError(Exception):
    """A rival's environment could not be made; the message is one line."""


class RivalFailedError(Exception):
    """A rival ran and failed; the message ends with its last words."""


def rival(name: str, request: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Run the rival on a request, in ``folder``; its reply.

    Raises RivalMissingError where it cannot be installed, RivalFailedError where it fails.
    """
    python = environment(name)
    asked, answered = folder / f"{name}-request.json", folder / f"{name}-reply.json"
    asked.write_text(json.dumps(request), "utf8")
    answered.unlink(missing_ok=True)
    # -I: the script's own folder stays off the path, where its name would hide the package's.
    command = [str(python), "-I", str(RIVALS / f"{name}.py"), str(asked), str(answered)]
    done = subprocess.run(
        command,
        env={**os.environ, **SILENT, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not answered.is_file():
        raise RivalFailedError(f"{name} exited {done.returncode}: {_last(done.stderr)}")
    reply: dict[str, Any] = json.loads(answered.read_text("utf8"))
    return reply


def environment(name: str) -> Path:
    """The Python of a rival's environment, made now unless it stands."""
    wanted, home = RIVALS / f"{name}.txt", ENVIRONMENTS / name
    python, mark = home / "bin" / "python", home / "made-from"
    digest = hashlib.sha256(wanted.read_bytes()).hexdigest()
    if mark.is_file() and mark.read_text() == digest:
        return python
    say(f"making the environment of {name} (once, some minutes)")
    shutil.rmtree(home, ignore_errors=True)
    _must(name, [sys.executable, "-m", "venv", str(home)])
    # The file names everything: what a package says it needs may conflict (Brevitas with any recent
    # torch over setuptools) or come in gigabytes.
    _must(name, [str(python), "-m", "pip", "install", "-q", "--no-deps", "-r", str(wanted)])
    mark.write_text(digest)
    return python


def _must(name: str, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RivalMissingError(f"{name} cannot be installed: {_last(done.stderr)}")


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("[notice]")]
    return lines[-1].strip() if lines else "no message"
