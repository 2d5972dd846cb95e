"""Plugins by place and by entry point."""

import pytest

from netsuke.core.check import Check
from netsuke.core.errors import NetsukeError
from netsuke.core.passes import Pass
from netsuke.core.probe import Probe
from netsuke.core.registry import named, nearest, registered
from third_party import CODE, installed


def test_what_stands_in_the_package_is_registered_by_its_name():
    probes = registered(Probe, "netsuke.probes")
    assert {"size", "quality", "latency", "memory", "parity", "estimate"} <= set(probes)
    assert all(kind.name == name for name, kind in probes.items())
    assert set(registered(Check, "netsuke.checks")) >= {"budget", "parity", "harm"}


def test_a_third_party_adds_one_by_an_entry_point(tmp_path, monkeypatch):
    points = "[netsuke.passes]\nanything = shaver_a:Shave\n"
    with monkeypatch.context() as patch, installed(tmp_path, patch, "shaver_a", CODE, points):
        assert named(Pass, "netsuke.passes", "test.shave").__name__ == "Shave"
    registered.cache_clear()
    assert "test.shave" not in registered(Pass, "netsuke.passes")


def test_two_of_one_name_are_an_error(tmp_path, monkeypatch):
    code = CODE + "\nclass Other(Shave):\n    pass\n"
    points = "[netsuke.passes]\na = shaver_b:Shave\nb = shaver_b:Other\n"
    with (
        installed(tmp_path, monkeypatch, "shaver_b", code, points),
        pytest.raises(NetsukeError, match="two plugins are named 'test.shave'"),
    ):
        registered(Pass, "netsuke.passes")


def test_an_unknown_name_lists_near_ones():
    with pytest.raises(NetsukeError, match=r"no 'latencey'; did you mean latency\?"):
        named(Probe, "netsuke.probes", "latencey")


def test_with_none_near_all_are_listed():
    assert nearest("zzz", ["b", "a"]) == "there are: a, b"
