"""Keys: for their owner alone, whole, and nobody's name is a path."""

from pathlib import Path

import pytest

from netsuke.core.errors import NetsukeError
from netsuke.wire.keys import Known, check_public, new_keys, own_keys
from netsuke.wire.pairing import ALPHABET, new_code, passage


def test_keys_are_made_once_and_are_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "keys.toml"
    keys = own_keys(path)
    assert own_keys(path) == keys
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.secret not in repr(keys)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_keys_that_others_may_read_are_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys.toml"
    own_keys(path)
    path.chmod(mode)
    with pytest.raises(NetsukeError, match=r"keys\.toml: others may read it.*chmod 600"):
        own_keys(path)


@pytest.mark.parametrize("text", ["", "public = 3", 'public = "a"\nsecret = "b"', "\x00\xff"])
def test_a_damaged_key_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text, encoding="latin1")
    path.chmod(0o600)
    with pytest.raises(NetsukeError, match=r"keys\.toml: holds no keys"):
        own_keys(path)


def test_keys_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    keys = own_keys(path)
    path.write_text(path.read_text().replace(keys.public, new_keys().public))
    with pytest.raises(NetsukeError, match="do not belong together"):
        own_keys(path)


def test_who_is_known_is_known_by_the_key_and_forgotten_at_once(tmp_path: Path) -> None:
    known, keys = Known(tmp_path), new_keys()
    known.add("desk", keys.public)
    assert known.name_of(keys.public) == "desk"
    assert known.name_of(new_keys().public) is None
    assert (known.forget("desk"), known.forget("desk")) == (True, False)
    assert known.name_of(keys.public) is None


def test_a_key_file_that_holds_anything_else_is_nobodys(tmp_path: Path) -> None:
    known, keys = Known(tmp_path), new_keys()
    (tmp_path / "a.key").write_bytes(b"\xff\xfe")
    (tmp_path / "b.key").mkdir()
    known.add("desk", keys.public)
    assert known.name_of(keys.public) == "desk"
    assert known.name_of(new_keys().public) is None


@pytest.mark.parametrize("name", ["../desk", "", "a/b", ".hidden", "x" * 65])
def test_a_name_is_never_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(NetsukeError, match="no name of a machine"):
        Known(tmp_path / "known").add(name, new_keys().public)
    assert not list(tmp_path.rglob("*.key"))


@pytest.mark.parametrize("key", ["", "short", "~" * 40])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(NetsukeError, match="no public key"):
        check_public(key)


def test_a_code_gives_both_sides_the_same_keys_and_forgives_how_it_is_typed() -> None:
    code = "K7Q0-2M41-9TBC-WZ01-6HJN"
    there = passage(code)
    assert passage("k7qo 2m4l 9tbc wzoi 6hjn") == there
    assert there.agent != there.home
    assert passage(code.replace("K7", "K8")).agent != there.agent
    drawn = {new_code() for _ in range(100)}
    assert len(drawn) == 100
    assert all(set(one.replace("-", "")) <= set(ALPHABET) for one in drawn)


@pytest.mark.parametrize("code", ["", "K7Q0", "U" * 20, "K7Q0-2M41-9TBC-WZ01-6HJN-0000"])
def test_what_is_no_code_is_refused(code: str) -> None:
    with pytest.raises(NetsukeError, match="no pairing code"):
        passage(code)
