"""A network spread over real agents on loopback: what it gives, and that no request is lost or answered twice."""

import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import Said
from tests.notes import Notes
from tests.spread import NEAR, X, parts_of

from netsuke.core.artifact import Artifact
from netsuke.core.data import stream
from netsuke.core.errors import NetsukeError
from netsuke.devices import device
from netsuke.links.remote import Remote
from netsuke.links.served import Served, Serving, serving
from netsuke.nets.capture import capture
from netsuke.runtimes.onnxruntime import OnnxRuntime
from netsuke.serving import Exits, Spread, serve, stop
from netsuke.testing.agents import Proxy, Running, paired, started, until
from netsuke.wire.message import WireError

TINY = Path(__file__).parents[1] / "workload_tiny.py"


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[dict[str, Running]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(paired(tmp_path, name)) for name in ("pi1", "pi2")}


@pytest.fixture
def spread(agents: dict[str, Running], artifact: Artifact) -> Serving:
    return serve(artifact, OnnxRuntime(), list(agents), Spread(name="resnet", routes=NEAR))


def test_two_devices_give_what_one_gives(
    agents: dict[str, Running], spread: Serving, expected: list[np.ndarray]
) -> None:
    assert [part["device"] for part in spread.parts] == ["pi1", "pi2"]
    assert spread.parts[0]["to"] == spread.parts[1]["from"]
    first, second = (part["seconds"] for part in spread.parts)
    assert 0.4 < first / (first + second) < 0.6, "they share the work"
    assert serving("resnet") == spread
    with Served(spread) as called:
        for x, wanted in zip(X, expected, strict=True):
            assert np.allclose(called.run((x,))[0], wanted, rtol=1e-5, atol=1e-5)
        many = list(called.map((x,) for x in list(X) * 20))
    assert len(many) == 160
    for number, (given,) in enumerate(many):
        assert np.allclose(given, expected[number % 8], rtol=1e-5, atol=1e-5)
    stop(spread, OnnxRuntime())
    assert not any(parts_of(running) for running in agents.values())
    with pytest.raises(NetsukeError, match="nothing is served under this name"):
        serving("resnet")


def test_parts_that_die_lose_nothing(
    agents: dict[str, Running], spread: Serving, expected: list[np.ndarray]
) -> None:
    over = threading.Event()
    killed = []

    def killer() -> None:
        draw = random.Random(0)
        while not over.is_set():
            time.sleep(2.5)
            for part in parts_of(draw.choice(list(agents.values()))):
                part.kill()
                killed.append(part.pid)

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        with Served(spread) as called:
            end, answered = time.monotonic() + 12, 0
            while time.monotonic() < end:
                for given, wanted in zip(called.map((x,) for x in X), expected, strict=True):
                    assert np.allclose(given[0], wanted, rtol=1e-5, atol=1e-5)
                    answered += 1
    finally:
        over.set()
        thread.join()
    assert len(killed) >= 3
    assert answered >= 16


def test_an_agent_that_dies_and_comes_back_loses_nothing(
    agents: dict[str, Running], spread: Serving, expected: list[np.ndarray]
) -> None:
    second = agents["pi2"]
    with Served(spread) as called:
        given = called.map((x,) for x in X)
        assert np.allclose(next(given)[0], expected[0], rtol=1e-5, atol=1e-5)
        second.kill()
        again = started(second.state, second.port)
        try:
            rest = [one for (one,) in given]
        finally:
            again.kill()
    assert all(
        np.allclose(a, b, rtol=1e-5, atol=1e-5) for a, b in zip(rest, expected[1:], strict=True)
    )


def test_a_link_that_flaps_loses_nothing(spread: Serving, expected: list[np.ndarray]) -> None:
    proxy, over = Proxy(spread.address), threading.Event()

    def flap() -> None:
        while not over.wait(0.2):
            proxy.cut()

    thread = threading.Thread(target=flap)
    thread.start()
    try:
        with Served(replace(spread, address=proxy.address)) as called:
            given = [one for (one,) in called.map((x,) for x in list(X) * 40)]
    finally:
        over.set()
        thread.join()
        proxy.close()
    assert proxy.cuts >= 2
    for number, one in enumerate(given):
        assert np.allclose(one, expected[number % 8], rtol=1e-5, atol=1e-5)
    assert len(given) == 320


def test_a_part_that_stays_away_is_named_in_time(
    agents: dict[str, Running], spread: Serving
) -> None:
    agents["pi2"].kill()
    with Served(spread) as called:
        start = time.monotonic()
        with pytest.raises(WireError, match="resnet: pi2: resnet.0-2-of-2: did not answer in time"):
            called.run((X[0],), patience=1.5)
        assert time.monotonic() - start < 6


SKEW = """import time
def skewed(now):
    return lambda: now() + SECONDS
time.time = skewed(time.time)
"""


@pytest.mark.parametrize("seconds", [-1e7, 1e7])
def test_clocks_that_differ_by_months_change_nothing(
    tmp_path: Path,
    artifact: Artifact,
    expected: list[np.ndarray],
    seconds: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A request carries how long it may take, not until when."""
    (tmp_path / "sitecustomize.py").write_text(SKEW.replace("SECONDS", repr(seconds)))
    with ExitStack() as stack:
        stack.enter_context(paired(tmp_path, "pi1"))
        with monkeypatch.context() as there:
            there.setenv("PYTHONPATH", str(tmp_path))
            said = subprocess.check_output(
                [sys.executable, "-c", "import time; print(time.time())"]
            )
            assert abs(float(said) - time.time() - seconds) < 60
            stack.enter_context(paired(tmp_path, "pi2"))
        spread = serve(artifact, OnnxRuntime(), ["pi1", "pi2"], Spread(name="resnet", routes=NEAR))
        assert len(spread.parts) == 2
        with Served(spread) as called:
            for given, wanted in zip(called.map((x,) for x in X), expected, strict=True):
                assert np.allclose(given[0], wanted, rtol=1e-5, atol=1e-5)
        with Remote("pi2", OnnxRuntime()) as link:
            assert link.stretch() > 0.5


def test_a_tensor_of_another_version_is_refused(spread: Serving) -> None:
    with (
        Served(replace(spread, of="0" * 64)) as called,
        pytest.raises(WireError, match="of version 0000"),
    ):
        called.run((X[0],))
    with (
        Served(replace(spread, inputs=(replace(spread.inputs[0], name="y"),))) as called,
        pytest.raises(WireError, match="are missing"),
    ):
        called.run((X[0],))
    with Served(spread) as called, pytest.raises(NetsukeError, match="takes 1 inputs, got 2"):
        called.run((X[0], X[0]))
    with Served(spread) as called, pytest.raises(WireError, match="cannot run"):
        called.run((X[0][:, :, :5],))


def test_what_fits_no_device_alone_runs_on_two(agents: dict[str, Running], tmp_path: Path) -> None:
    """Limits below what the whole takes, above what each part does; and so far from both that no two
    measurements of a process differ as much."""
    from netsuke.serving.network import segmented

    wide = torch.nn.Sequential(*(torch.nn.Linear(1024, 1024) for _ in range(8))).eval()
    x = torch.randn(1, 1024)
    model = capture(wide, (torch.zeros(2, 1024),), "wide")
    artifact = OnnxRuntime().export(model, device("pi4"), tmp_path / "wide.onnx")
    network = segmented(artifact, OnnxRuntime())
    whole = network.takes(0, len(network.segments))
    limit = int(whole - 0.3 * (whole - network.process["idle"]))
    with pytest.raises(NetsukeError, match=r"2 devices of .* would"):
        serve(artifact, OnnxRuntime(), ["pi1"], Spread(name="alone", memory=(limit,)))
    how = Spread(name="both", memory=(int(2 * whole), int(2 * whole)), routes=NEAR)
    found = serve(artifact, OnnxRuntime(), ["pi1", "pi2"], how)
    with Served(found) as called:
        assert np.allclose(called.run((x.numpy(),))[0], wide(x).detach(), rtol=1e-4, atol=1e-5)


def test_a_limit_is_kept_by_the_device_itself(
    agents: dict[str, Running], artifact: Artifact
) -> None:
    with Remote("pi1", OnnxRuntime()) as link, pytest.raises(WireError, match="its limit is 20 MB"):
        link.serve(artifact, {"name": "x", "threads": 1, "memory": 20_000_000})


def test_a_damaged_note_of_what_is_served_is_named(spread: Serving, tmp_path: Path) -> None:
    from netsuke.links.served import _file

    _file("resnet").write_text('{"name": 3}')
    with pytest.raises(NetsukeError, match=r"resnet\.json: is damaged"):
        serving("resnet")
    shutil.rmtree(_file("resnet").parent)


def test_from_the_command_line(
    agents: dict[str, Running], artifact: Artifact, netsuke: Callable[..., Said]
) -> None:
    said = netsuke(
        "serve", artifact.path, "--on", "pi1,pi2", "--link", "1Gbit/1ms", "--name", "res"
    )
    assert said.code == 0, said.err
    assert [line.split()[0] for line in said.out.splitlines()[1:3]] == ["pi1", "pi2"]
    assert "netsuke unserve res ends it" in said.out
    assert len(parts_of(agents["pi1"])) == 1
    assert netsuke("unserve", "res").code == 0
    assert not parts_of(agents["pi1"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--link", "1Gbit,1Gbit"), "2 between 2 devices; give 1"),
        (("--link", "fast"), "no rate and delay, such as 10Mbit/20ms"),
        (("--link", "1Mbit/soon"), "--link: 'soon' is not a quantity"),
        (("--memory", "1GB"), "1 limits for 2 devices"),
        (("--exit", "1pt"), "--exit: needs data; give --workload"),
        (("--exit", "1ms", "--workload", str(TINY)), "--exit: 'ms' is not a unit of points"),
        (("--objective", "fun"), "neither throughput nor latency"),
        (("--name", "../x"), "is no name; use small letters"),
    ],
)
def test_what_cannot_be_served_is_said(
    artifact: Artifact, netsuke: Callable[..., Said], options: tuple[str, ...], said: str
) -> None:
    given = netsuke("serve", artifact.path, "--on", "pi1,pi2", *options)
    assert (given.code, said in given.err) == (2, True), given.err


def test_while_the_next_device_is_gone_the_first_answers_and_says_so(
    agents: dict[str, Running], artifact: Artifact, expected: list[np.ndarray]
) -> None:
    how = Spread(name="resnet", routes=NEAR, offline=True)
    spread = serve(artifact, OnnxRuntime(), list(agents), how)
    with Served(spread) as called:
        assert called.run((X[0],)).how == ""
        agents["pi2"].kill()
        for _ in range(2):
            for x, wanted in zip(X, expected, strict=True):
                answer = called.run((x,))
                assert answer.how == "offline"
                assert np.allclose(answer[0], wanted, rtol=1e-5, atol=1e-5)
        again = started(agents["pi2"].state, agents["pi2"].port)
        try:
            until(lambda: called.run((X[0],)).how == "")
        finally:
            again.kill()


def test_what_the_first_device_is_sure_of_goes_no_further(
    agents: dict[str, Running], artifact: Artifact
) -> None:
    session, draw = OnnxRuntime().open(artifact), np.random.default_rng(1)
    x = draw.standard_normal((256, 3, 32, 32)).astype(np.float32)
    labels = session.run((x,))[0].argmax(1)
    fit, judge = stream(x, "fit", labelled=False), stream((x[:128], labels[:128]), "judge")
    assert fit is not None
    assert judge is not None
    exits, notes = Exits(fit=fit, judge=judge, lost=0.05), Notes()
    spread = serve(
        artifact,
        OnnxRuntime(),
        list(agents),
        Spread(name="resnet", routes=NEAR, exits=exits),
        notes,
    )
    said = next(line for line in notes.said if "are answered by pi1 itself" in line)
    with Served(spread) as called:
        answers = [called.run((one[None],)) for one in x[:128]]
    early = np.array([answer.how == "exit" for answer in answers])
    right = np.array([answer[0].argmax() for answer in answers]) == labels[:128]
    assert round(100 * float(early.mean())) == int(said.split(" %")[0])
    assert 0 < early.sum() < 128
    assert right[~early].all()
    assert 1 - right.mean() <= 0.05


def test_the_head_answers_as_many_as_may_be_and_no_more() -> None:
    from netsuke.core.head import Head
    from netsuke.serving.exits import _sure_enough

    head = Head("x", 1, np.zeros((2, 1), np.float32), np.zeros(2, np.float32), 2.0)
    outputs = np.array([[9.0, 0], [5, 0], [3, 0], [1, 0]])
    labels, whole = np.array([0, 0, 1, 0]), np.array([True, True, True, True])
    found = [_sure_enough(head, outputs, whole, labels, lost) for lost in (0.0, 0.25)]
    assert [(one.share, one.lost) for one in found] == [(0.5, 0.0), (1.0, 0.25)]
    nothing = _sure_enough(head, outputs, whole, np.ones(4, int), 0.0)
    assert (nothing.share, nothing.head.threshold) == (0.0, 2.0)


def test_a_head_is_kept_as_it_was_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    from netsuke.core.head import Head

    head = Head("7", 1, np.ones((3, 2), np.float32), np.arange(3, dtype=np.float32), 0.5)
    head.save(tmp_path / "head.npz")
    kept = Head.load(tmp_path / "head.npz")
    crossing = np.random.default_rng(0).integers(0, 255, (4, 2, 5, 5)).astype(np.uint8)
    assert np.array_equal(kept.answer(crossing)[0], head.answer(crossing)[0])
    (tmp_path / "head.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(NetsukeError, match=r"head\.npz: holds no head"):
        Head.load(tmp_path / "head.npz")
