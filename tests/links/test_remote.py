"""A paired device: what is shipped, measured and run there, and what is said where it cannot be."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import psutil
import pytest

from netsuke import calibrate, flow, store
from netsuke.core.artifact import Artifact
from netsuke.core.budget import Budget
from netsuke.core.errors import NetsukeError
from netsuke.core.evidence import find
from netsuke.core.kernels import Kernel
from netsuke.core.recipe import read_recipe
from netsuke.devices import device, own_file
from netsuke.devices.file import write_device
from netsuke.fitting import Options
from netsuke.links.book import keys_file
from netsuke.links.local import Local
from netsuke.links.remote import Remote
from netsuke.packer import pack
from netsuke.runtimes.onnxruntime import OnnxRuntime
from netsuke.testing.agents import NAME, Proxy, Running, started, until
from netsuke.wire.caller import Caller
from netsuke.wire.keys import own_keys
from netsuke.wire.message import WireError
from netsuke.workload import read_workload

TINY = Path(__file__).parents[1] / "workload_tiny.py"
RECIPE = '[[pass]]\nuse = "prune.channels"\ncost = "macs"\nratio = 0.5\nepochs = 0\n'


@pytest.fixture
def link(agent: Running) -> Iterator[Remote]:
    found = Remote(NAME, OnnxRuntime())
    write_device(found.device(), own_file(NAME))
    yield found
    found.close()


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """An ONNX file of one kernel."""
    content = OnnxRuntime().kernel_file(Kernel(8, 8, (3, 3), 8))
    assert content is not None
    path = tmp_path / "kernel.onnx"
    path.write_bytes(content)
    return OnnxRuntime().adopt(path)


def test_a_device_describes_itself(link: Remote) -> None:
    found = link.device()
    here = flow.find_device("local")
    assert (found.name, found.cores, found.memory) == (NAME, here.cores, here.memory)
    assert found.title.startswith(NAME)


def test_what_runs_there_gives_what_runs_here(link: Remote, artifact: Artifact) -> None:
    here, there = Local(OnnxRuntime()).open(artifact), link.open(artifact)
    x = np.random.default_rng(0).standard_normal((1, 8, 8, 8)).astype(np.float32)
    for _ in range(3):
        assert np.array_equal(there.run((x,))[0], here.run((x,))[0])
    with pytest.raises(WireError, match="takes 1 inputs, got 2"):
        there.run((x, x))


def test_a_file_goes_on_where_it_broke_off(agent: Running, link: Remote, monkeypatch) -> None:
    content = np.random.default_rng(0).bytes(300_000)
    name = sha256(content).hexdigest()
    part = agent.state / "artifacts" / f"{name}.part"
    part.write_bytes(content[:100_000])
    monkeypatch.setattr("netsuke.links.remote.PIECE", 64_000)
    sent = []
    call = link._caller.call
    monkeypatch.setattr(
        link._caller, "call", lambda verb, *rest, **k: sent.append(verb) or call(verb, *rest, **k)
    )
    link.put(content)
    assert sent == ["have", "put", "put", "put", "put"]
    assert part.with_suffix("").read_bytes() == content
    assert not part.exists()


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path, monkeypatch) -> None:
    import os

    from netsuke.agent.shelf import Shelf
    from netsuke.wire.message import Message

    monkeypatch.setattr("netsuke.agent.shelf.KEPT", 2500)
    contents = [bytes([number]) * 1000 for number in range(5)]
    names = [sha256(content).hexdigest() for content in contents]
    shelf = Shelf(tmp_path, lambda: {names[0]})
    for age, (name, content) in enumerate(zip(names, contents, strict=True)):
        head = {"sha256": name, "size": 1000, "offset": 0}
        assert shelf.verbs["put"](Message(head, [content])).head["whole"]
        os.utime(tmp_path / name, (age, age))
    assert {path.name for path in tmp_path.iterdir()} == {names[0], *names[2:]}


def test_a_file_that_was_changed_is_refused_and_gone(agent: Running, link: Remote) -> None:
    content = b"x" * 1000
    name = sha256(content).hexdigest()
    (agent.state / "artifacts" / f"{name}.part").write_bytes(b"y" * 500)
    with pytest.raises(WireError, match="changed on its way"):
        link.put(content)
    assert not list((agent.state / "artifacts").iterdir())
    link.put(content)


def test_a_stored_model_is_shipped_as_such_and_is_the_same_there(
    agent: Running, link: Remote, artifact: Artifact
) -> None:
    pack(artifact.path, artifact.path.with_suffix(".nsk"))
    size = artifact.path.with_suffix(".nsk").stat().st_size
    assert size < artifact.path.stat().st_size
    link._ship(artifact)
    there = list((agent.state / "artifacts").iterdir())
    assert [path.name for path in there] == [artifact.sha256]
    assert there[0].read_bytes() == artifact.path.read_bytes()


def test_kernels_are_timed_there(link: Remote) -> None:
    small, large = (link.kernel_seconds(Kernel(c, c, (3, 3), 32)) for c in (16, 64))
    assert small is not None
    assert large is not None
    assert 1e-6 < small < large
    assert link.kernel_seconds(Kernel(8, 4, (1, 1), 3, "linear", 8)) is None


def test_its_rates_are_measured_there_and_kept_here(
    agent: Running, link: Remote, netsuke: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of fewer kernels than usual."""
    few = ("DENSE", calibrate.DENSE[:2]), ("DEPTHWISE", calibrate.DEPTHWISE[:1]), ("REPEATS", 1)
    for name, value in (*few, ("SMALLEST", calibrate.SMALLEST[:1])):
        monkeypatch.setattr(calibrate, name, value)
    before = device(NAME)
    said = netsuke("devices", "calibrate", NAME)
    assert said.code == 0, said.err
    after = device(NAME)
    assert after.sources["formats"].startswith("measured on it")
    assert after.formats != before.formats
    assert after.memory == before.memory
    for fact in ("bandwidth", "storage_speed", "call", "session", "overhead"):
        assert getattr(after, fact) > 0, fact
        assert after.sources[fact].startswith("measured on it"), fact
    kinds = [json.loads(p.read_text())["kind"] for p in (agent.state / "jobs").glob("*/job.json")]
    assert {"turns", "probe", "rates"} <= set(kinds)


def test_a_run_is_measured_there_from_the_command_line(
    link: Remote, artifact: Artifact, netsuke: Callable[..., object]
) -> None:
    said = netsuke("measure", artifact.path, "--on", NAME, "--json")
    assert said.code == 0
    found = {e["what"]: e for e in json.loads(said.out)}
    assert {"size", "memory", "cpu_p50"} <= set(found)
    assert {e["device"] for e in found.values()} == {NAME}
    assert {e["source"] for e in found.values()} == {"measured"}


def test_a_fit_for_a_paired_device_is_measured_on_it(
    agent: Running, link: Remote, tmp_path: Path
) -> None:
    given = read_workload(TINY)
    run = flow.fit(
        given.model, given.task, device=NAME, budget=Budget(drop="100 pt", latency_p95="1s"),
        recipe=read_recipe(RECIPE), options=Options(out=tmp_path / "run"),
    )  # fmt: skip
    assert {e.device for e in run.evidence} == {NAME}
    for what in ("latency_p95", "speedup", "memory", "quality", "drop", "agreement"):
        found = find(run.evidence, what, NAME)
        assert found is not None, what
        assert found.source == "measured"
    assert run.verdict.outcome == "pass"
    assert store.open_run(run.folder).record["device"]["name"] == NAME
    jobs = [p for p in (agent.state / "jobs").iterdir() if (p / "result.json").exists()]
    assert len(jobs) >= 5
    assert not list((agent.state / "parts").iterdir()), "what was opened there is closed again"


def test_a_device_that_is_not_paired_cannot_be_measured_on(artifact: Artifact) -> None:
    with pytest.raises(NetsukeError, match="pi4: is known, but not paired; netsuke pair pi4"):
        flow.measure(artifact.path, device="pi4")


def test_an_agent_that_is_gone_is_named(
    agent: Running, link: Remote, artifact: Artifact, monkeypatch
) -> None:
    agent.kill()
    monkeypatch.setattr("netsuke.wire.caller.AGAIN", 0.2)
    with pytest.raises(NetsukeError, match=f"{NAME}: no answer from {agent.address}"):
        link._caller.call("hello", patience=1)


def test_after_a_restart_the_same_is_served_at_the_same_place(
    agent: Running, link: Remote, artifact: Artifact
) -> None:
    there = link.open(artifact)
    x = np.ones((1, 8, 8, 8), np.float32)
    before = there.run((x,))[0]
    agent.kill()
    again = started(agent.state, agent.port)
    try:
        assert np.array_equal(there.run((x,))[0], before)
    finally:
        again.kill()


def test_a_part_that_dies_is_begun_anew(agent: Running, link: Remote, artifact: Artifact) -> None:
    there = link.open(artifact)
    x = np.ones((1, 8, 8, 8), np.float32)
    before = there.run((x,))[0]
    (part,) = psutil.Process(agent.process.pid).children()
    part.kill()
    assert np.array_equal(there.run((x,))[0], before)


def test_a_link_that_is_slow_is_not_taken_for_a_dead_one(
    agent: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame that takes 4 s, and is not sent again in the meantime."""
    monkeypatch.setattr("netsuke.wire.caller.AGAIN", 0.5)
    proxy = Proxy(agent.address, rate=200_000)
    theirs = own_keys(agent.state / "keys.toml").public
    with Caller(own_keys(keys_file()), theirs, proxy.address, NAME) as slow:
        start = time.monotonic()
        slow.call("ping", frames=[bytes(800_000)])
        assert 3 < time.monotonic() - start < 8
    proxy.close()


def test_a_part_that_is_killed_while_it_loads_is_begun_anew(
    agent: Running, link: Remote, artifact: Artifact
) -> None:
    link.ship(artifact)
    link._caller.call("serve", {"name": "k", "artifact": artifact.to_dict(), "threads": 1})
    until(lambda: "pid" in link._caller.call("part", {"name": "k"}).head)
    state = link._caller.call("part", {"name": "k"}).head
    assert "address" not in state
    psutil.Process(state["pid"]).kill()
    assert link._ready("k")["died"] == 1


def test_a_job_that_a_full_disk_broke_off_can_be_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from netsuke.agent.jobs import Jobs
    from netsuke.agent.shelf import Shelf
    from netsuke.wire.message import Message

    jobs = Jobs(tmp_path, Shelf(tmp_path, set), tmp_path)
    asked = Message({"id": "0" * 32, "job": {"kind": "facts"}})
    with monkeypatch.context() as full:
        full.setattr("netsuke.agent.jobs.write_json", _no_space)
        with pytest.raises(OSError, match="No space"):
            jobs.verbs["job"](asked)
    with pytest.raises(WireError, match="there is no such job"):
        jobs.verbs["result"](Message({"job": "0" * 32}))
    jobs.verbs["job"](asked)
    assert jobs.verbs["result"](Message({"job": "0" * 32})).head == {"done": False, "before": 0}


def _no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_what_nobody_calls_any_more_is_let_go(
    agent: Running, link: Remote, artifact: Artifact
) -> None:
    link._ship(artifact)
    link._caller.call(
        "serve", {"name": "brief", "artifact": artifact.to_dict(), "threads": 1, "idle": 1}
    )
    link._ready("brief")
    until(lambda: not link._caller.call("parts").head["parts"])
    assert not list((agent.state / "parts").iterdir())


def test_a_part_over_its_limit_is_refused(link: Remote, artifact: Artifact) -> None:
    link._ship(artifact)
    asked = {"name": "small", "artifact": artifact.to_dict(), "threads": 1, "memory": 10_000_000}
    link._caller.call("serve", asked)
    with pytest.raises(WireError, match=r"memory, its limit is 10 MB"):
        link._ready("small")


def test_a_file_that_was_tampered_with_on_the_device_is_not_served(
    agent: Running, link: Remote, artifact: Artifact
) -> None:
    link._ship(artifact)
    path = agent.state / "artifacts" / artifact.sha256
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WireError, match="is not what it was"):
        link.open(artifact)


def test_a_full_disk_is_said_and_nothing_is_half_there(
    agent: Running, link: Remote, monkeypatch
) -> None:
    with pytest.raises(WireError, match="the disk has .* left"):
        link._caller.call("put", {"sha256": "0" * 64, "size": 1 << 39, "offset": 0}, [b"x"])
    assert not list((agent.state / "artifacts").iterdir())


def test_a_job_goes_on_after_its_agent_was_killed(agent: Running, link: Remote) -> None:
    name = link._caller.call("job", {"job": {"kind": "facts"}}).text("job")
    agent.kill()
    again = started(agent.state, agent.port)
    try:
        until(lambda: link._caller.call("result", {"job": name}).head.get("done"))
        assert link._caller.call("result", {"job": name}).head["found"]["cores"]
    finally:
        again.kill()


def test_a_damaged_entry_is_named(link: Remote, netsuke: Callable[..., object]) -> None:
    from netsuke.links.book import _file

    _file(NAME).write_text("address = 3 4")
    with pytest.raises(NetsukeError, match=f"{NAME}.toml: is damaged"):
        Remote(NAME, OnnxRuntime())


def test_forgetting_a_device(link: Remote, netsuke: Callable[..., object]) -> None:
    assert netsuke("pair", NAME, "--forget").code == 0
    assert not own_file(NAME).exists()
    said = netsuke("pair", NAME, "--forget")
    assert (said.code, "is not paired" in said.err) == (2, True)
    shutil.rmtree(own_file(NAME).parent)


def test_a_part_that_is_begun_anew_is_held_to_its_limit_still(
    agent: Running, link: Remote, artifact: Artifact
) -> None:
    told = {"name": "held", "threads": 1, "memory": 200_000_000}
    link.serve(artifact, told)
    before = link.parts()["held"]["pid"]
    groups = _memory_groups(before)
    if not any("-held" in line for line in groups):
        pytest.skip("no control group of memory may be made here (root, or Delegate=yes)")
    psutil.Process(before).kill()
    # Ready it is only once it has entered its group.
    until(lambda: "address" in (held := link.parts()["held"]) and held["pid"] != before)
    assert _memory_groups(link.parts()["held"]["pid"]) == groups


def _memory_groups(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii").splitlines()
