"""Devices by name, by file and by entry point."""

from pathlib import Path

import pytest

import netsuke.devices
from netsuke.core.device import Device
from netsuke.core.errors import NetsukeError
from netsuke.devices import device, names
from netsuke.devices.file import read_device, write_device
from third_party import installed

PI4 = Path(netsuke.devices.__file__).with_name("pi4.toml")


def test_this_machine_comes_first():
    assert names()[0] == "local"
    assert "pi4" in names()


def test_the_pi_is_estimated_and_every_figure_has_a_source():
    pi = device("pi4")
    assert pi.name == "pi4"
    assert not pi.measured
    assert pi.memory == 4e9
    assert pi.formats["fp32"] < pi.formats["int8"]
    for fact in ("memory", "storage", "cores", "kernel_width", "formats", "bandwidth", "overhead"):
        assert len(pi.sources[fact]) > 20


def test_this_machine_is_measured():
    here = device("local")
    assert here.measured
    assert here.cores >= 1
    assert here.memory > 1e8
    # Between a microcontroller and a dream.
    assert 1e8 < here.formats["fp32"] < 1e13
    assert here.formats["int8"] > here.formats["fp32"]
    assert 1e8 < here.bandwidth < 1e13
    assert here.kernel_width in (8, 16)


@pytest.mark.parametrize(
    ("name", "near"), [("pi44", "did you mean pi4"), ("zzz", "there are: .*local, pi4")]
)
def test_an_unknown_device_lists_near_names(name, near):
    with pytest.raises(NetsukeError, match=near) as error:
        device(name)
    assert "\n" not in str(error.value)


def test_a_name_never_leaves_the_folder(tmp_path):
    with pytest.raises(NetsukeError, match="no '../devices/pi4'"):
        device("../devices/pi4")


def test_a_file_of_ones_own_is_a_device(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text(PI4.read_text(encoding="utf8").replace("4e9", "2e9", 1), encoding="utf8")
    found = device(str(mine))
    assert (found.name, found.memory) == ("mine", 2e9)


def test_a_plugin_adds_one_by_an_entry_point(tmp_path, monkeypatch):
    code = f"from pathlib import Path\nBOARD = Path({str(PI4)!r})\nWRONG = 3\n"
    points = "[netsuke.devices]\nboard9 = boards_d:BOARD\nwrong9 = boards_d:WRONG\n"
    with installed(tmp_path, monkeypatch, "boards_d", code, points):
        assert "board9" in names()
        assert isinstance(device("board9"), Device)
        with pytest.raises(NetsukeError, match="neither a Device nor a path"):
            device("wrong9")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[cores]\nvalue = 4", "[cores]\nvalue = 0", "cores must be a number above zero, got 0"),
        ("[cores]\nvalue = 4", "[cores]\nvalue = true", "cores must be a number"),
        ("[cores]\nvalue = 4", '[cores]\nvalue = "four"', "cores must be a number"),
        ("[cores]\nvalue = 4", "[cores]", "cores needs a value and a source"),
        ("[cores]", "[kernels]", "unknown fact 'kernels'"),
        ("fp32 = 4.8e9, ", "", "formats lacks fp32"),
        ("fp32 = 4.8e9", "fp32 = -1", "formats.fp32 must be a number above zero"),
        ("[bandwidth]", "[bandwidth", "not valid TOML"),
        (
            "value = 4e9",
            "value = 4",
            r":\d+: memory = 4 is absurd: ram, bytes, from 1000 to 1e\+14",
        ),
        ("[cores]\nvalue = 4", "[cores]\nvalue = 1.5", "cores must be a whole number, got 1.5"),
        ("[bandwidth]", "[bandwith]", "unknown fact 'bandwith'; did you mean bandwidth"),
        ('["onnxruntime"]', '"onnxruntime"', "runtimes must be a list of names"),
        ("int8 = 7.2e9", "int9 = 7.2e9", "formats: no 'int9'; there are: fp32"),
    ],
)
def test_a_wrong_device_file_is_one_line_that_names_it(tmp_path, old, new, message):
    text = PI4.read_text(encoding="utf8")
    assert old in text
    path = tmp_path / "board.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf8")
    with pytest.raises(NetsukeError, match=message) as error:
        read_device(path)
    assert str(path) in str(error.value)


def test_a_missing_fact_and_a_missing_file_are_named(tmp_path):
    text = PI4.read_text(encoding="utf8")
    start = text.index("[bandwidth]")
    (tmp_path / "b.toml").write_text(text[:start] + text[text.index("[overhead]") :])
    with pytest.raises(NetsukeError, match="missing bandwidth"):
        read_device(tmp_path / "b.toml")
    with pytest.raises(NetsukeError, match=r"none.toml: cannot be read: No such file"):
        device(str(tmp_path / "none.toml"))


def test_a_fault_is_named_with_its_line(tmp_path):
    text = PI4.read_text(encoding="utf8").replace("value = 4.8e9", "value = -1", 1)
    number = text.splitlines().index("[bandwidth]") + 1
    (tmp_path / "board.toml").write_text(text, encoding="utf8")
    with pytest.raises(NetsukeError, match=rf"board\.toml:{number}: bandwidth must be a number"):
        read_device(tmp_path / "board.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("idle = 2.7", "idle = 7", "power.idle is 7 W, more than power.load, 6.4 W"),
        (
            "[sparse]\nvalue = []",
            '[sparse]\nvalue = ["3:5"]',
            "sparse: no '3:5'; there are: free, 2:4, 4:8",
        ),
        ('value = "board"', 'value = "bord"', "kind: no 'bord'; there are: microcontroller, board"),
    ],
)
def test_facts_that_cannot_be_are_named(tmp_path, old, new, message):
    text = PI4.read_text(encoding="utf8")
    assert old in text
    (tmp_path / "board.toml").write_text(text.replace(old, new, 1), encoding="utf8")
    with pytest.raises(NetsukeError, match=message):
        read_device(tmp_path / "board.toml")


@pytest.mark.parametrize("name", [n for n in names() if n != "local"])
def test_a_device_that_is_written_is_the_one_that_was_read(tmp_path, name):
    found = device(name)
    write_device(found, tmp_path / f"{name}.toml")
    assert read_device(tmp_path / f"{name}.toml") == found
