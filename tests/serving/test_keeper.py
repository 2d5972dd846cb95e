"""A network that moves while it is called: devices that die, fill up or slow down, links that change; no request is lost."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from tests.conftest import Said
from tests.notes import Notes
from tests.spread import NEAR, X, parts_of

from netsuke.core.artifact import Artifact
from netsuke.core.errors import NetsukeError
from netsuke.core.partition import Route
from netsuke.links.remote import Remote
from netsuke.links.served import Served, Serving, serving
from netsuke.runtimes.onnxruntime import OnnxRuntime
from netsuke.serving import Spread, keeping, serve, stop
from netsuke.serving.keeper import Keeper
from netsuke.testing.agents import Running, paired, started, until
from netsuke.wire.caller import Caller, UnreachableError
from netsuke.wire.keys import own_keys
from netsuke.wire.message import WireError

FAR = (Route(bandwidth=1e9, delay=1e-3),)
FAST, SLOW = Route(bandwidth=1e9, delay=1e-4), Route(bandwidth=1e4, delay=0.02)


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[dict[str, Running]]:
    with ExitStack() as stack:
        names = ("pi1", "pi2", "pi3")
        yield {name: stack.enter_context(paired(tmp_path, name)) for name in names}


@contextmanager
def beside(target: Callable[..., None], *given: object) -> Iterator[None]:
    """Something goes on beside the test, until the event is set that it is given last."""
    over = threading.Event()
    thread = threading.Thread(target=target, args=(*given, over))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def called(found: Serving, expected: list[np.ndarray]) -> Iterator[list[int]]:
    """Calls without end beside the test; the list counts what was answered, rightly."""
    right, went_wrong = list[int](), list[BaseException]()

    def call(over: threading.Event) -> None:
        try:
            with Served(found) as client:
                while not over.is_set():
                    for given, wanted in zip(client.map((x,) for x in X), expected, strict=True):
                        assert np.allclose(given[0], wanted, rtol=1e-5, atol=1e-5)
                        right.append(1)
        except BaseException as error:
            went_wrong.append(error)

    with beside(call):
        yield right
    assert not went_wrong, went_wrong


def goes_on(right: list[int], calls: int = 16) -> None:
    """Until so many more are answered."""
    count = len(right)
    until(lambda: len(right) > count + calls)


def looks(keeper: Keeper, true: Callable[[], object]) -> None:
    """Look until something is so."""

    def looked() -> object:
        assert keeper.look()
        return true()

    until(looked, 60)


def test_a_part_of_a_device_that_dies_moves_to_another(
    agents: dict[str, Running],
    artifact: Artifact,
    expected: list[np.ndarray],
    monkeypatch,
) -> None:
    monkeypatch.setattr("netsuke.serving.view.AWAY", 1.0)
    notes = Notes()
    how = Spread(name="resnet", routes=NEAR * 2)
    with keeping(artifact, OnnxRuntime(), list(agents), how, notes) as keeper:
        before = [part["device"] for part in keeper.serving.parts]
        dead = before[-1]
        with called(keeper.serving, expected) as right:
            until(lambda: len(right) > 8)
            agents[dead].kill()
            looks(keeper, lambda: keeper.serving.moves == 1)
            goes_on(right, 40)
        assert dead not in [part["device"] for part in keeper.serving.parts]
        assert any(f"({dead} is gone)" in line for line in notes.said)
    assert serving("resnet") == keeper.serving
    for name in agents.keys() - {dead}:
        names = [part["part"] for part in keeper.serving.parts if part["device"] == name]
        assert len(parts_of(agents[name])) == len(names), "what was there before is ended"


def test_what_no_device_is_left_for_is_said_to_who_calls_until_one_is_back(
    agents: dict[str, Running],
    artifact: Artifact,
    expected: list[np.ndarray],
    monkeypatch,
) -> None:
    monkeypatch.setattr("netsuke.serving.view.AWAY", 0.5)
    how = Spread(name="resnet", routes=())
    with (
        keeping(artifact, OnnxRuntime(), ["pi1"], how) as keeper,
        Served(keeper.serving) as client,
    ):
        assert np.allclose(client.run((X[0],))[0], expected[0], rtol=1e-5, atol=1e-5)
        agents["pi1"].kill()
        looks(keeper, lambda: keeper.serving.error)
        with pytest.raises(WireError, match="resnet: pi1 is gone; no device is left"):
            client.run((X[0],))
        again = started(agents["pi1"].state, agents["pi1"].port)
        try:
            looks(keeper, lambda: keeper.serving.error is None)
            until(lambda: _answers(client))
        finally:
            again.kill()


def _answers(client: Served) -> bool:
    with suppress(WireError):
        return bool(client.run((X[0],)))
    return False


def test_a_cut_moves_as_the_link_changes(
    agents: dict[str, Running],
    artifact: Artifact,
    expected: list[np.ndarray],
    monkeypatch,
) -> None:
    """What a link is like is made up here; that it is measured is another test's."""
    now = [FAST]
    monkeypatch.setattr(Remote, "route", lambda *_: now[0])
    with keeping(artifact, OnnxRuntime(), ["pi1", "pi2"], Spread(name="resnet")) as keeper:
        assert len(keeper.serving.parts) == 2
        with called(keeper.serving, expected) as right:
            now[0] = SLOW
            assert keeper.look()
            assert keeper.serving.moves == 0, "what passes at once is no reason to move"
            looks(keeper, lambda: len(keeper.serving.parts) == 1)
            now[0] = FAST
            looks(keeper, lambda: len(keeper.serving.parts) == 2)
            goes_on(right)


def test_a_part_moves_away_from_a_device_that_becomes_slow(
    agents: dict[str, Running],
    artifact: Artifact,
    expected: list[np.ndarray],
) -> None:
    how = Spread(name="resnet", objective="latency", routes=FAR)
    with keeping(artifact, OnnxRuntime(), ["pi1", "pi2"], how) as keeper:
        assert [part["device"] for part in keeper.serving.parts] == ["pi1"]
        slow = beside(_slowed, parts_of(agents["pi1"])[0])
        with slow, called(keeper.serving, expected) as right:
            looks(keeper, lambda: keeper.serving.parts[-1]["device"] == "pi2")
            goes_on(right)


def _slowed(process: psutil.Process, over: threading.Event) -> None:
    """Stopped most of the time."""
    with suppress(psutil.NoSuchProcess):
        while not over.wait(0.005):
            process.suspend()
            time.sleep(0.05)
            process.resume()


def test_a_device_that_turns_out_too_small_gives_its_part_away(
    agents: dict[str, Running],
    artifact: Artifact,
    expected: list[np.ndarray],
) -> None:
    how = Spread(name="resnet", objective="latency", routes=FAR)
    with keeping(artifact, OnnxRuntime(), ["pi1", "pi2"], how) as keeper:
        told = keeper.serving.parts[0]
        assert told["device"] == "pi1"
        note = agents["pi1"].state / "parts" / f"{told['part']}.json"
        note.write_text(note.read_text().replace('"memory": null', '"memory": 20000000'))
        with called(keeper.serving, expected) as right:
            parts_of(agents["pi1"])[0].kill()
            looks(keeper, lambda: keeper.serving.moves == 1)
            assert [part["device"] for part in keeper.serving.parts] == ["pi2"]
            goes_on(right)


def test_who_is_served_anew_is_followed_and_leaves_nothing_behind(
    agents: dict[str, Running],
    artifact: Artifact,
    expected: list[np.ndarray],
) -> None:
    how = Spread(name="resnet", routes=NEAR)
    with called(serve(artifact, OnnxRuntime(), ["pi1", "pi2"], how), expected) as right:
        until(lambda: right)
        again = serve(artifact, OnnxRuntime(), ["pi2", "pi1"], how)
        assert again.moves == 1
        goes_on(right, 40)
    assert [len(parts_of(agents[name])) for name in ("pi1", "pi2")] == [1, 1]


def test_a_way_is_measured_between_the_devices_themselves(agents: dict[str, Running]) -> None:
    with Remote("pi1", OnnxRuntime()) as one, Remote("pi2", OnnxRuntime()) as two:
        found = one.route(two)
        assert 0 < found.delay < 0.1
        assert found.bandwidth > 1e7
        with pytest.raises(WireError, match="is no address"):
            one._caller.call("reach", {"name": "x", "address": "x", "public": two.public, "size": 0})  # fmt: skip
        agents["pi2"].kill()
        asked = {"name": "pi2", "address": two.address, "public": two.public, "size": 0, "left": 0.5}  # fmt: skip
        with pytest.raises(WireError, match="pi1: pi2: did not answer in time"):
            one._caller.call("reach", asked)


def test_a_device_that_has_half_its_time_for_us_is_seen_to(agents: dict[str, Running]) -> None:
    with Remote("pi1", OnnxRuntime()) as link:
        assert link.stretch() > 0.9
        with beside(_halved, agents["pi1"]):
            assert 1.5 < link.stretch() < 6


def _halved(running: Running, over: threading.Event) -> None:
    """Whatever it starts is stopped half of the time."""
    while not over.wait(0.01):
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            for child in psutil.Process(running.process.pid).children():
                child.suspend()
                time.sleep(0.01)
                child.resume()


def test_a_guest_may_ping_and_no_more(agents: dict[str, Running]) -> None:
    theirs = own_keys(agents["pi2"].state / "keys.toml")
    with Remote("pi1", OnnxRuntime()) as one:
        with (
            Caller(theirs, one.public, one.address, "pi1") as stranger,
            pytest.raises(UnreachableError),
        ):
            stranger.call("ping", patience=0.5)
        one._caller.call("welcome", {"public": theirs.public})
        with Caller(theirs, one.public, one.address, "pi1") as guest:
            guest.call("ping", patience=5)
            for verb in ("hello", "parts", "echo", "welcome", "reach"):
                with pytest.raises(WireError, match="not for you to ask"):
                    guest.call(verb)


def test_from_the_command_line_it_ends_with_what_it_watches(
    agents: dict[str, Running],
    artifact: Artifact,
    netsuke: Callable[..., Said],
    monkeypatch,
) -> None:
    monkeypatch.setattr("netsuke.cli.serving.LOOK", 0.1)
    ended = threading.Thread(target=_ended, args=("res",))
    ended.start()
    said = netsuke("serve", artifact.path, "--on", "pi1,pi2", "--name", "res", "--watch")
    ended.join()
    assert said.code == 0, said.err
    assert "watching; Ctrl-C leaves it as it is then" in said.out
    assert "res is served no longer" in said.out


def _ended(name: str) -> None:
    """As soon as it is served."""

    def there() -> bool:
        with suppress(NetsukeError):
            return bool(serving(name))
        return False

    until(there, 60)
    stop(serving(name), OnnxRuntime())
