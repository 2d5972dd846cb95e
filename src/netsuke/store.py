"""Runs on disk: a folder and JSON.

``runs/NAME-n`` holds ``model.onnx``, which a runtime opens, ``model.nsk``, its stored form,
``baseline.onnx``, ``recipe.toml``, ``evidence.json``, ``report.html``, ``report.md``,
``report.json`` and ``manifest.json``, which alone has the hashes of all of them. While a fit is under way ``progress.json`` and
``steps/`` hold what is decided so far; ``manifest.json`` is written last, so a run that has one is
whole.
"""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from netsuke.core.artifact import Artifact, sha256, widths_beside
from netsuke.core.errors import NetsukeError, NewerRunError
from netsuke.core.evidence import Evidence
from netsuke.core.files import write_json
from netsuke.core.verdict import Verdict
from netsuke.packer import unpack

FORMAT = 1
ROOT = Path("runs")
REPORTS = frozenset({"report.html", "report.md", "report.json"})


@dataclass(frozen=True)
class Run:
    """A finished run: its folder and its record (the content of ``report.json``)."""

    folder: Path
    record: dict[str, Any]

    @property
    def verdict(self) -> Verdict:
        """The combined verdict of the final evidence."""
        return read_verdict(self.record["verdict"])

    @property
    def artifact(self) -> Artifact:
        """The carved model as exported."""
        return Artifact.from_dict(self.record["final"]["artifact"], self.folder)

    @property
    def baseline(self) -> Artifact:
        """The original as exported."""
        return Artifact.from_dict(self.record["baseline"]["artifact"], self.folder)

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """The final evidence."""
        return tuple(Evidence(**e) for e in self.record["final"]["evidence"])


def read_verdict(data: dict[str, Any]) -> Verdict:
    """A verdict from its JSON form."""
    return Verdict(**{**data, "evidence": tuple(Evidence(**e) for e in data["evidence"])})


def open_run(folder: Path) -> Run:
    """Read a finished run. Raises NetsukeError naming the folder or file that is not right."""
    if not folder.is_dir():
        raise NetsukeError(f"{folder}: no such run folder; netsuke list shows the runs")
    manifest = read_json(
        folder / "manifest.json", missing="this fit did not finish; run it again to resume"
    )
    _check_format(folder / "manifest.json", manifest)
    record = read_json(folder / "report.json")
    _check_format(folder / "report.json", record)
    return Run(folder, record)


def hashes(folder: Path) -> dict[str, str]:
    """What every file of a finished run hashes to, by name: from its manifest."""
    found: dict[str, str] = read_json(folder / "manifest.json")["files"]
    return found


def verify(run: Run, *names: str) -> None:
    """Raise NetsukeError where one of these files of the run, or any that ``netsuke report`` does
    not write again, is not what its manifest says."""
    listed = hashes(run.folder)
    for name in names or [name for name in listed if name not in REPORTS]:
        path = run.folder / name
        if not path.exists():
            raise NetsukeError(f"{path}: missing; the manifest lists it")
        if sha256(path) != listed.get(name):
            raise NetsukeError(
                f"{path}: differs from its hash in manifest.json; restore it or fit again"
            )


def runnable(run: Run, drafts: Path) -> Artifact:
    """The carved model as a file that a runtime opens: the run's own, or, where only the stored form
    is there, what that expands to, in ``drafts``. Raises NetsukeError where neither is as it was."""
    artifact = run.artifact
    stored = artifact.path.with_suffix(".nsk")
    if artifact.path.exists() or not stored.exists():
        verify(run, artifact.path.name)
        return artifact
    path = drafts / artifact.path.name
    header = unpack(stored, path)
    if widths_beside(artifact.path).exists():
        shutil.copyfile(widths_beside(artifact.path), widths_beside(path))
    if header.sha256 != hashes(run.folder)[path.name]:
        raise NetsukeError(
            f"{stored}: is of another run than manifest.json; restore it or fit again"
        )
    return replace(artifact, path=path)


def runs(root: Path = ROOT) -> Iterator[Path]:
    """The run folders under ``root``, finished or not, oldest first."""
    if root.is_dir():
        found = [
            p
            for p in root.iterdir()
            if (p / "manifest.json").exists() or (p / "progress.json").exists()
        ]
        yield from sorted(found, key=lambda p: (p.stat().st_mtime, p.name))


def next_folder(name: str, root: Path = ROOT) -> Path:
    """``root/NAME-n`` with the next free n."""
    form = re.compile(re.escape(name) + r"-(\d+)")
    taken = [
        int(m[1])
        for p in (root.iterdir() if root.is_dir() else ())
        if (m := form.fullmatch(p.name))
    ]
    return root / f"{name}-{max(taken, default=0) + 1}"


@dataclass(frozen=True)
class Progress:
    """What an unfinished fit has decided so far; survives a kill."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "progress.json"

    def read(self, fingerprint: str) -> dict[str, Any] | None:
        """The state kept under this fingerprint, or None where there is none to go on from."""
        if not self.path.exists():
            return None
        state: dict[str, Any] = read_json(self.path)
        _check_format(self.path, state)
        return state if state["fingerprint"] == fingerprint else None

    def write(self, fingerprint: str, state: dict[str, Any]) -> None:
        write_json(self.path, {"format": FORMAT, "fingerprint": fingerprint, **state})

    def clear(self) -> None:
        """Forget it: the run is whole."""
        self.path.unlink(missing_ok=True)
        shutil.rmtree(self.folder / "steps", ignore_errors=True)


def unfinished(name: str, fingerprint: str, root: Path = ROOT) -> Path | None:
    """The newest interrupted run of this name and fingerprint, to be resumed."""
    for folder in reversed(list(runs(root))):
        if folder.name.rpartition("-")[0] == name and Progress(folder).read(fingerprint):
            return folder
    return None


def read_json(path: Path, missing: str = "missing") -> Any:
    """JSON from a file. Raises NetsukeError naming the file when it is absent or broken."""
    try:
        return json.loads(path.read_text(encoding="utf8"))
    except FileNotFoundError as error:
        raise NetsukeError(f"{path}: {missing}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise NetsukeError(f"{path}: not valid JSON ({error}); restore it or fit again") from error


def _check_format(path: Path, data: dict[str, Any]) -> None:
    if data.get("format", 0) > FORMAT:
        raise NewerRunError(
            f"{path}: written by a newer Netsuke (format {data['format']}, this one reads {FORMAT}); upgrade"
        )
