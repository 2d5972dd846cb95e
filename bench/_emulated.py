"""The lean install and its agent on a 64-bit ARM that qemu emulates: that they start, and compute what x86 computes.

Debian's own packages are unpacked under the cache, nothing is installed: an ARM Python with its libraries, wheels for
ARM, and qemu-user-static. Never a timing: what an emulator takes says nothing of a device.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench._agents import HOMES, environment
from bench._data import load_test
from bench._harness import Bench, Claim, Figure, MissingDataError, say
from bench._setup import RESNET20, RESNET56, network, post_training
from netsuke.links.book import Entry, keys_file, write
from netsuke.links.remote import Remote
from netsuke.runtimes.onnxruntime import OnnxRuntime
from netsuke.wire.keys import Known, own_keys

if TYPE_CHECKING:
    from netsuke.core.artifact import Artifact

SOURCE = Path(__file__).resolve().parents[1] / "src"
PACKAGES = ("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6", "libgcc-s1", "libgomp1")
TAGS = ("2_28", "2_27", "2_26", "2_17")
CORES = {
    "cortex-a72": "fp asimd evtstrm crc32 cpuid",
    "max": "fp asimd evtstrm crc32 cpuid asimddp",
}
"""Of a Raspberry Pi 4, without a dot product of integers; and all that qemu emulates."""
IMAGES, BATCH, AGREE = 256, 32, 99.0


def emulated(bench: Bench) -> Figure:
    """INT8 ResNets through a paired agent on each emulated core."""
    arm = Arm(bench.folder("arm"))
    arm.install()
    x = load_test(bench)[0][: bench.count(IMAGES, 8)]
    made = {"ResNet-20": _integers(bench, RESNET20), "ResNet-56": _integers(bench, RESNET56)}
    claims, details = [], {}
    for core in CORES:
        homes = dict.fromkeys(HOMES, str(arm.folder / "home"))
        with environment(**homes), _paired(arm, core) as link:
            machine = link.device().title
            claims.append(
                Claim(f"{core}: an agent on {machine}", float("aarch64" in machine), "", "≥", 1)
            )
            for name, artifact in made.items():
                found = _apart(link, artifact, x)
                details[f"{core}, {name}"] = found
                claims.append(
                    Claim(f"{core}, {name}: predictions as on x86", found["agree"], "%", "≥", AGREE)
                )
    note = "emulated: outputs alone, never a time"
    return Figure("agent on ARM", tuple(claims), len(x), details, (note,))


class Arm:
    """A folder with an emulator and what runs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root, self.site = folder / "root", folder / "site"

    def install(self) -> None:
        """Once. Raises MissingDataError where this is no Debian, or its packages are not to be had."""
        if (self.folder / "whole").exists():
            return
        if shutil.which("apt-get") is None or platform.machine() != "x86_64":
            raise MissingDataError("needs a Debian on x86_64: apt-get is not here")
        say("fetching an ARM Python, its wheels and qemu")
        self._unpack("arm64", PACKAGES, self.root)
        self._unpack("amd64", ("qemu-user-static",), self.folder / "qemu")
        tags = [word for tag in TAGS for word in ("--platform", f"manylinux_{tag}_aarch64")]
        _run([
            sys.executable, "-m", "pip", "install", "--quiet", "--target", str(self.site), "--only-binary=:all:",
            *tags, "--python-version", "3.11", "--implementation", "cp", *_lean(),
        ])  # fmt: skip
        (self.folder / "whole").touch()

    def python(self, core: str) -> Path:
        """A command that is this Python to whoever starts it, itself too."""
        # Libraries look into /proc/cpuinfo, and an emulator passes the host's on.
        text = f"processor\t: 0\nFeatures\t: {CORES[core]}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
        text += "CPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n"
        (self.root / "proc").mkdir(exist_ok=True)
        (self.root / "proc" / "cpuinfo").write_text(text)
        path = self.folder / f"python-{core}"
        qemu = self.folder / "qemu" / "usr" / "bin" / "qemu-aarch64-static"
        path.write_text(
            f'#!/bin/sh\nexec {qemu} -cpu {core} -L {self.root} -0 {path} {self.root}/usr/bin/python3.11 "$@"\n'
        )
        path.chmod(0o755)
        return path

    def _unpack(self, machine: str, packages: tuple[str, ...], target: Path) -> None:
        """Packages with what they need, by a package manager's state of their own: the system's is left alone."""
        home = self.folder / f"apt-{machine}"
        for part in ("lists/partial", "cache/archives/partial"):
            (home / part).mkdir(parents=True, exist_ok=True)
        (home / "status").touch()
        options = [
            f"Dir::State={home}", f"Dir::State::Lists={home}/lists", f"Dir::Cache={home}/cache",
            f"Dir::State::status={home}/status", f"APT::Architecture={machine}", f"APT::Architectures={machine}",
            "Acquire::Languages=none", "APT::Install-Recommends=0",
        ]  # fmt: skip
        apt = ["apt-get", "-qq", *(word for option in options for word in ("-o", option))]
        _run([*apt, "update"])
        _run([*apt, "-y", "--download-only", "install", *packages])
        for package in sorted((home / "cache" / "archives").glob("*.deb")):
            _run(["dpkg-deb", "-x", str(package), str(target)])


def _lean() -> list[str]:
    """What the install without extras needs."""
    told = tomllib.loads((SOURCE.parent / "pyproject.toml").read_text("utf8"))
    needs: list[str] = told["project"]["dependencies"]
    return needs


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word of why"])[-1]
        raise MissingDataError(f"{command[0]}: {last}")


@contextmanager
def _paired(arm: Arm, core: str) -> Iterator[Remote]:
    """An agent under emulation that knows this process, reached."""
    state = arm.folder / f"agent-{core}"
    shutil.rmtree(state, ignore_errors=True)
    Known(state / "known").add("home", own_keys(keys_file()).public)
    told = {"host": "127.0.0.1", "port": 0, "state": str(state), "pair": False}
    process = subprocess.Popen(
        [str(arm.python(core)), "-m", "netsuke.agent", json.dumps(told)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": f"{arm.site}:{SOURCE}", "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        say(f"  {core}: {line.strip()}")
        port = line.split(",")[0].rpartition(":")[2]
        write("arm", Entry(f"tcp://127.0.0.1:{port}", own_keys(state / "keys.toml").public))
        with Remote("arm", OnnxRuntime()) as link:
            yield link
    finally:
        process.terminate()
        process.wait()


def _integers(bench: Bench, weights: str) -> Artifact:
    from netsuke.core.budget import Budget
    from netsuke.core.observer import Observer
    from netsuke.core.recipe import make_pass
    from netsuke.intake import take_goal, take_model

    goal = take_goal(post_training(bench), "local", Budget(), 0, Observer())
    model = take_model(network(bench, weights), goal.data, "net")
    made = make_pass("quantize.static", {}).apply(model, goal)
    return OnnxRuntime().export(
        made, goal.device, bench.folder("arm") / f"{Path(weights).stem}.onnx"
    )


def _apart(link: Remote, artifact: Artifact, x: np.ndarray) -> dict[str, Any]:
    """Of all predictions the share that is the same, and how far outputs are apart."""
    here, there = OnnxRuntime().open(artifact), link.open(artifact)
    pairs = [
        (here.run((x[i : i + BATCH],))[0], there.run((x[i : i + BATCH],))[0])
        for i in range(0, len(x), BATCH)
    ]
    ours, theirs = (np.concatenate(side) for side in zip(*pairs, strict=True))
    same = 100 * float((ours.argmax(1) == theirs.argmax(1)).mean())
    return {"agree": same, "apart": float(np.abs(ours - theirs).max()), "largest": float(np.abs(ours).max()), "source": "emulated"}  # fmt: skip
