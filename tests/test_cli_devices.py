"""netsuke devices: the list, one, and a new one."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from netsuke.cli import app
from netsuke.core.errors import NetsukeError
from netsuke.devices import names
from netsuke.devices.file import FACTS, read_device

RUN = CliRunner()


def said(*words: str, answers: str = "") -> str:
    done = RUN.invoke(app, ["devices", *words], input=answers, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_every_device_is_listed() -> None:
    table = said()
    for name in names():
        assert f"\n{name} " in table
    listed = json.loads(said("--json"))
    assert [one["name"] for one in listed] == list(names())


@pytest.mark.parametrize("words", [("pi4",), ("show", "pi4")])
def test_one_is_shown_with_the_source_of_each_fact(words: tuple[str, ...]) -> None:
    shown = said(*words)
    assert "4.8 GMAC/s" in shown
    assert "sci-pi.org.uk" in shown
    facts = json.loads(said(*words, "--json"))
    assert facts["memory"] == 4e9
    assert set(facts["sources"]) >= {name for name, fact in FACTS.items() if fact.needed}


def test_a_device_nobody_knows_is_told_with_near_names() -> None:
    with pytest.raises(NetsukeError, match="did you mean pi4"):
        RUN.invoke(app, ["devices", "pi44"], catch_exceptions=False)


def test_a_new_one_is_asked_for_and_written(tmp_path: Path) -> None:
    # Every fact of the known one is taken over, but for the memory: first what cannot be, then 2 GB.
    answers = ["My board", "", "", "2 GB", "2e9", "its label", *[""] * 60]
    path = tmp_path / "mine.toml"
    text = said("add", str(path), "--like", "pi4", answers="\n".join(answers))
    assert "memory must be a number above zero, got '2 GB'" in text
    mine, known = read_device(path), read_device(Path(FOLDER) / "pi4.toml")
    assert (mine.title, mine.memory, mine.sources["memory"]) == ("My board", 2e9, "its label")
    assert mine.formats == known.formats
    assert mine.sources["formats"] == known.sources["formats"]
    with pytest.raises(NetsukeError, match="is there already"):
        RUN.invoke(app, ["devices", "add", str(path)], catch_exceptions=False)


FOLDER = Path(__file__).parents[1] / "src" / "netsuke" / "devices"
