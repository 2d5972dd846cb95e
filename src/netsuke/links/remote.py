"""A device with an agent: files are shipped there once, and measured and run there."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from netsuke.core.artifact import Artifact
from netsuke.core.artifact import sha256 as hash_of
from netsuke.core.data import Array, Stream
from netsuke.core.device import Device, recorded_device
from netsuke.core.errors import NetsukeError
from netsuke.core.evidence import Evidence
from netsuke.core.feed import feed
from netsuke.core.goal import Goal
from netsuke.core.kernels import Kernel, kernel_of_turns
from netsuke.core.link import Link
from netsuke.core.observer import Observer
from netsuke.core.partition import Route
from netsuke.core.probe import Probe, Subject
from netsuke.core.runtime import Runtime, Session
from netsuke.links.book import entry, keys_file
from netsuke.wire.caller import PATIENCE, Caller, UnreachableError
from netsuke.wire.keys import own_keys
from netsuke.wire.message import WireError, arrays_of, with_arrays

PINGS, SMALL, LARGE = 5, 1 << 12, 1 << 20
"""Times that nothing is sent to tell a delay; bytes of the first and the last load that is to tell a rate."""
LONG, PLAIN = 3.0, 0.01
"""A load tells a rate where it takes so many times what nothing does, and so many seconds more."""
OPENINGS, PUSH, PUSHED, BETTER = 10, 0.4, 1 << 22, 0.95
"""How often a way is given seconds' worth of bytes, so many at most, to open; where the next load takes no less than this share
of what the last did, it has."""
FIRST, PIECE, SOON = 1 << 16, 1 << 20, 0.5
"""Bytes shipped at a time, which are lost of a file when a link breaks: the first, and the most; ever more while one takes
no longer than so many seconds."""
STEPS = 100
"""Of the progress that is shown."""
LOOK = 0.05
"""Seconds between looks at whether a job is done."""
LEAVING = 3.0
"""Seconds that a device has to say that it let go."""
IDLE = 600
"""Seconds that a network which is called from here is kept there when nobody calls any more."""
DEATHS = 4
"""In a row, of what is served, until it counts as what cannot run there."""
LOADING, JOB = 60.0, 1800.0
"""Seconds that a network may take to load, and a measurement to be done."""


class Remote(Link):
    """A paired device. observer: told of files under way. Raises NetsukeError where it is not paired, or its agent does
    not answer."""

    def __init__(self, name: str, runtime: Runtime, observer: Observer | None = None) -> None:
        known, self._watch = entry(name), observer or Observer()
        self.name, self._runtime = name, runtime
        self._keys, self.public, self.address = own_keys(keys_file()), known.public, known.address
        self._caller = Caller(self._keys, known.public, known.address, name)
        self._there: set[str] = set()
        self._opened: list[_Opened] = []
        try:
            self._caller.call("hello", patience=10)
        except NetsukeError:
            self._caller.close()
            raise

    def close(self) -> None:
        """A device that is gone is let go of all the same: what it serves for calls ends with its agent's next start."""
        for one in self._opened:
            one.close()
        with contextlib.suppress(UnreachableError):
            for one in self._opened:
                self._caller.call("stop", {"name": one.name}, patience=LEAVING)
        self._opened.clear()
        self._caller.close()

    def device(self) -> Device:
        """The machine as it describes itself."""
        found = recorded_device(self._done({"kind": "facts"}))
        title = found.title.replace("this machine", self.name)
        return replace(found, name=self.name, title=title, measured=False)

    def route(self, other: Remote) -> Route:
        """How another paired device is reached from this one: by how long nothing, and ever more bytes, take there.

        Raises NetsukeError where it is not.
        """
        other._caller.call("welcome", {"public": self.public})
        nothing = min(self._reached(other, 0) for _ in range(PINGS))
        size, took = SMALL, self._reached(other, SMALL)
        for _ in range(OPENINGS):
            while took < LONG * nothing + PLAIN and size < LARGE:
                size *= 4
                took = self._reached(other, size)
            before, rate = took, size / max(took - nothing, 1e-6)
            # A connection sends little at first, and more with every word that something came (RFC 5681, slow start); those
            # of parts that serve have sent much.
            self._reached(other, round(min(max(size, PUSH * rate), PUSHED)))
            took = min(took, self._reached(other, size))
            if took > BETTER * before:
                break
        return Route(bandwidth=size / max(took - nothing, 1e-6), delay=nothing / 2)

    def _reached(self, other: Remote, size: int) -> float:
        """Seconds until so many bytes have come there, and word of it back."""
        asked = {"name": other.name, "address": other.address, "public": other.public, "size": size}
        seconds = self._caller.call("reach", asked, patience=LOADING).head["seconds"]
        return float(seconds)

    def serve(self, artifact: Artifact, told: Mapping[str, Any]) -> dict[str, Any]:
        """Have the artifact served there, as it is told. Returns how it is: its address, its memory.

        Raises WireError where it is not ready in time, or takes more than it may.
        """
        self._ship(artifact)
        self._caller.call("serve", {**told, "artifact": artifact.to_dict()})
        state = self._ready(told["name"])
        address = f"{self.address.rpartition(':')[0]}:{state['address'].rpartition(':')[2]}"
        return {"address": address, "memory": state["memory"], "sha256": artifact.sha256}

    def ship(self, artifact: Artifact) -> dict[str, Any]:
        """Have an artifact there; its description, for what it is served beside."""
        self._ship(artifact)
        return artifact.to_dict()

    def stop(self, name: str) -> None:
        """Serve it there no longer."""
        self._caller.call("stop", {"name": name})

    def parts(self, patience: float = PATIENCE) -> dict[str, Mapping[str, Any]]:
        """What it serves, by name, and how that is: its "address" and "memory", or an "error", and how often it "died"
        in a row. Raises UnreachableError where it does not say so in time."""
        return self._caller.call("parts", patience=patience).table("parts")

    def join(self, server: str, authority: str) -> None:
        """Have it take part in a federation, on data that its owner named. authority: by which the server is known, as PEM."""
        told = {"address": server, "authority": authority, "name": self.name}
        self._caller.call("join", told)

    def joined(self) -> str:
        """Its public key, by which the server is to know it. Raises WireError where it does not take part."""
        end = time.monotonic() + LOADING
        while time.monotonic() < end:
            said = self._caller.call("joined").head
            if "public" in said:
                return str(said["public"])
            if "error" in said:
                raise WireError(f"{self.name}: {said['error']}")
            time.sleep(LOOK)
        raise WireError(f"{self.name}: its client was not ready in {LOADING:g} s")

    def leave(self) -> None:
        """It takes part no longer."""
        self._caller.call("leave", patience=LEAVING)

    def calling(self, address: str) -> Caller:
        """A part that it serves at this address, to ask itself."""
        return Caller(self._keys, self.public, address, self.name)

    def open(self, artifact: Artifact, threads: int = 1) -> Session:
        name = f"call-{artifact.sha256[:16]}-{threads}"
        address = self.serve(artifact, {"name": name, "threads": threads, "idle": IDLE})["address"]
        self._opened.append(_Opened(self.calling(address), name))
        return self._opened[-1]

    def probe(
        self, wanted: Probe, subject: Subject, baseline: Subject, stream: Stream | None, goal: Goal
    ) -> tuple[Evidence, ...]:
        if not wanted.there:
            return wanted.measure(subject, baseline, stream, goal)
        for one in (subject, baseline):
            self._ship(one.artifact)
        job = {
            "kind": "probe", "probe": wanted.name, "settings": asdict(wanted), "seed": goal.seed,  # type: ignore[call-overload]
            "subject": subject.artifact.to_dict(), "baseline": baseline.artifact.to_dict(),
        }  # fmt: skip
        found = self._done(job, _sample(subject.artifact, stream))
        return tuple(replace(Evidence(**one), device=self.name) for one in found)

    def stretch(self) -> float:
        """Seconds that pass there while one thread computes for one."""
        return float(self._done({"kind": "stretch"}))

    def turns(self, contents: Sequence[bytes]) -> list[list[float]]:
        files = [self.put(content) for content in contents]
        rounds: list[list[float]] = self._done(
            {"kind": "turns", "runtime": self._runtime.name, "files": files}
        )
        return rounds

    def kernel_seconds(self, kernel: Kernel) -> float | None:
        files = self._runtime.kernel_files(kernel)
        return None if files is None else kernel_of_turns(files, self.turns(files.contents))

    def rates(self) -> dict[str, float]:
        return dict(self._done({"kind": "rates"}))

    def echo(self, size: int) -> float:
        """Seconds that so many bytes take there and back."""
        start = time.perf_counter()
        self._caller.call("echo", frames=[bytes(size)])
        return time.perf_counter() - start

    def _ready(self, name: str) -> Mapping[str, Any]:
        """How a served network is, once it is ready."""
        end = time.monotonic() + LOADING
        while time.monotonic() < end:
            state = self._caller.call("part", {"name": name}).head
            if "address" in state:
                return state
            if why := failed(name, state):
                raise WireError(f"{self.name}: {why}")
            time.sleep(LOOK)
        raise WireError(f"{self.name}: {name} was not ready in {LOADING:g} s")

    def _done(self, job: Mapping[str, Any], sample: Sequence[Array] = ()) -> Any:
        """What came of a job; dropped there where it is not waited for any more."""
        asked = with_arrays({"job": dict(job)}, sample)
        name = self._caller.call("job", asked.head, asked.frames).text("job")
        end = time.monotonic() + JOB
        try:
            while time.monotonic() < end:
                result = self._caller.call("result", {"job": name}).head
                if result.get("done"):
                    if "error" in result:
                        raise WireError(f"{self.name}: {result['error']}")
                    return result["found"]
                time.sleep(LOOK)
        except KeyboardInterrupt:
            self._caller.call("drop", {"job": name}, patience=2)
            raise
        raise WireError(f"{self.name}: a measurement was not done in {JOB:g} s")

    def _ship(self, artifact: Artifact) -> None:
        """The artifact's file, if it is not there; as its stored form where that lies beside it and is smaller."""
        wanted = artifact.sha256
        if wanted in self._there:
            return
        stored = artifact.path.with_suffix(".nsk")
        smaller = stored.exists() and stored.stat().st_size < artifact.path.stat().st_size
        if smaller and not self._caller.call("have", {"sha256": wanted}).head["whole"]:
            name = self._send(stored, hash_of(stored))
            self._caller.call("expand", {"stored": name, "sha256": wanted}, patience=LOADING)
        else:
            self._send(artifact.path, wanted)
        self._there.add(wanted)

    def _send(self, path: Path, name: str) -> str:
        with path.open("rb") as file:
            return self._pieces(file.read(), name)

    def put(self, content: bytes) -> str:
        """Have a file's content there; what it is called by."""
        name = sha256(content).hexdigest()
        if name not in self._there:
            self._pieces(content, name)
            self._there.add(name)
        return name

    def _pieces(self, content: bytes, name: str) -> str:
        """Sends what the device does not have yet, from where it broke off."""
        told = self._caller.call("have", {"sha256": name}).head
        piece = FIRST
        for part in self._watch.track(range(1, STEPS + 1), f"shipping to {self.name}"):
            while not told["whole"] and told["bytes"] < part * len(content) / STEPS:
                start = time.perf_counter()
                told = self._piece(content, name, told["bytes"], piece)
                quick = time.perf_counter() - start < SOON
                piece = min(2 * piece, PIECE) if quick else max(piece // 2, FIRST)
        if not told["whole"]:
            raise NetsukeError(
                f"{self.name}: has {told['bytes']} bytes of a file of {len(content)}"
            )
        return name

    def _piece(self, content: bytes, name: str, at: int, size: int) -> Mapping[str, Any]:
        """Sends one; what the device then has."""
        head = {"sha256": name, "size": len(content), "offset": at}
        return self._caller.call("put", head, [memoryview(content)[at : at + size]]).head


def failed(name: str, state: Mapping[str, Any]) -> str:
    """Why what is served under a name does not run there; empty where it may. state: as ``Remote.parts`` tells."""
    if "error" in state:
        return str(state["error"])
    return f"the process of {name} died {DEATHS} times in a row" if state["died"] >= DEATHS else ""


class _Opened:
    """A session on the device. name: under which it is served there."""

    def __init__(self, caller: Caller, name: str) -> None:
        self._caller, self.name = caller, name

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        asked = with_arrays({}, inputs)
        return arrays_of(self._caller.call("run", asked.head, asked.frames))

    def close(self) -> None:
        self._caller.close()


def _sample(artifact: Artifact, stream: Stream | None) -> tuple[Array, ...]:
    """One real sample, where there is one: zeros and made-up values can take other times than data do."""
    if stream is None:
        return ()
    batch = next(stream.batches(1))
    return tuple(array[:1] for array in feed(batch, artifact, stream.field))
