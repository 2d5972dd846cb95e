"""Runs on disk: whole or not at all, and clear about what is wrong."""

import json
from pathlib import Path

import pytest

from netsuke import store
from netsuke.core.artifact import sha256
from netsuke.core.errors import NetsukeError, NewerRunError
from netsuke.core.files import beside, write_json, write_text


def test_a_file_is_there_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"x": 1})
    with pytest.raises(RuntimeError, match="cut off"), beside(path) as draft:
        draft.write_text("half")
        raise RuntimeError("cut off")
    assert json.loads(path.read_text(encoding="utf8")) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_nan_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not list(tmp_path.iterdir())


def test_folders_are_numbered_after_the_highest(tmp_path: Path) -> None:
    assert store.next_folder("kws", tmp_path).name == "kws-1"
    for name in ("kws-2", "kws-10", "kws-old", "other-99"):
        (tmp_path / name).mkdir()
    assert store.next_folder("kws", tmp_path).name == "kws-11"


def test_a_run_that_is_not_there_or_not_finished_is_named(tmp_path: Path) -> None:
    with pytest.raises(NetsukeError, match="no such run folder"):
        store.open_run(tmp_path / "none")
    with pytest.raises(NetsukeError, match="did not finish"):
        store.open_run(tmp_path)


def test_a_newer_run_is_refused_by_name(tmp_path: Path) -> None:
    write_json(tmp_path / "manifest.json", {"format": store.FORMAT + 1})
    with pytest.raises(NewerRunError, match=r"manifest\.json: written by a newer Netsuke"):
        store.open_run(tmp_path)


def test_broken_json_is_named(tmp_path: Path) -> None:
    write_text(tmp_path / "manifest.json", '{"format": 1')
    with pytest.raises(NetsukeError, match=r"manifest\.json: not valid JSON"):
        store.open_run(tmp_path)


def finished(folder: Path, **record: object) -> store.Run:
    """A run of two files and a report."""
    for name in ("model.onnx", "recipe.toml", "report.html"):
        write_text(folder / name, name)
    files = {p.name: sha256(p) for p in folder.iterdir()}
    write_json(folder / "manifest.json", {"format": 1, "files": files})
    write_json(folder / "report.json", {"format": 1, **record})
    return store.open_run(folder)


def test_every_file_but_the_report_must_be_as_the_manifest_says(tmp_path: Path) -> None:
    run = finished(tmp_path)
    write_text(tmp_path / "report.html", "written again")
    store.verify(run)
    write_text(tmp_path / "recipe.toml", "changed")
    store.verify(run, "model.onnx")
    with pytest.raises(NetsukeError, match=r"recipe\.toml: differs from its hash in manifest"):
        store.verify(run)
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(NetsukeError, match=r"model\.onnx: missing; the manifest lists it"):
        store.verify(run, "model.onnx")


def test_a_run_with_hashes_in_its_record_too_is_verified_by_its_manifest(tmp_path: Path) -> None:
    """Runs written before the manifest became the hashes' only home."""
    run = finished(tmp_path, hashes={"model.onnx": "00" * 32})
    store.verify(run)


def test_a_file_the_manifest_does_not_list_is_not_vouched_for(tmp_path: Path) -> None:
    run = finished(tmp_path)
    write_text(tmp_path / "extra.onnx", "not of this run")
    with pytest.raises(NetsukeError, match=r"extra\.onnx: differs from its hash"):
        store.verify(run, "extra.onnx")


def test_progress_is_resumed_only_by_the_same_fit(tmp_path: Path) -> None:
    folder = tmp_path / "kws-1"
    store.Progress(folder).write("mark", {"trials": []})
    assert store.unfinished("kws", "mark", tmp_path) == folder
    assert store.unfinished("kws", "another", tmp_path) is None
    store.Progress(folder).clear()
    assert store.unfinished("kws", "mark", tmp_path) is None
