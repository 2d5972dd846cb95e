"""Runs on disk: whole or not at all, and clear about what is wrong."""

import json
from pathlib import Path

import pytest

from netsuke import store
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


def test_progress_is_resumed_only_by_the_same_fit(tmp_path: Path) -> None:
    folder = tmp_path / "kws-1"
    store.Progress(folder).write("mark", {"trials": []})
    assert store.unfinished("kws", "mark", tmp_path) == folder
    assert store.unfinished("kws", "another", tmp_path) is None
    store.Progress(folder).clear()
    assert store.unfinished("kws", "mark", tmp_path) is None
