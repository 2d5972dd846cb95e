"""Where a federation meets: its run at the SuperLink, from which clients are asked and heard."""

import hashlib
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from flwr.app import Message
from flwr.cli.build import build_fab_from_files
from flwr.cli.supernode.register import try_load_public_key
from flwr.common.constant import SubStatus
from flwr.common.serde import context_from_proto, context_to_proto, fab_to_proto, run_from_proto
from flwr.proto.control_pb2 import RegisterNodeRequest, StartRunRequest
from flwr.proto.runtime_pb2 import AcquireTaskRequest, PullTaskInputRequest, PushTaskOutputRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, RuntimeVersionHttpInterceptor
from flwr.supercore.retry import make_simple_http_retry_invoker
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid.http_grid import HttpGrid

from netsuke.core.errors import NetsukeError
from netsuke.federation.flower import WAIT
from netsuke.federation.guard import HEADER, Showing, secret
from netsuke.federation.patient import NEWS
from netsuke.federation.traffic import PATH as TRAFFIC

APP = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "netsuke-federation"
version = "1.0.0"
license = "Apache-2.0"
dependencies = ["netsuke[federate]"]

[tool.flwr.app]
publisher = "netsuke"

[tool.flwr.app.components]
serverapp = "netsuke_federation:server"
clientapp = "netsuke_federation:client"
"""
"""What Flower wants of an app. It is never run: the processes at both ends have netsuke's own."""
STUB = "from flwr.clientapp import ClientApp\nfrom flwr.serverapp import ServerApp\n\nserver, client = ServerApp(), ClientApp()\n"

PATIENCE = 60.0
"""Seconds in which the layers before Flower must answer."""


@dataclass(frozen=True)
class Link:
    """A SuperLink. authority: the certificate by which it is known, as PEM."""

    address: str
    authority: bytes

    def control(self) -> ControlHttpClient:
        return ControlHttpClient.from_server_address(
            self.address, False, self.authority, [Showing(secret())]
        )

    def runtime(self, token: str = "") -> RuntimeHttpClient:
        shown: list[Any] = [
            RuntimeVersionHttpInterceptor(component_name="netsuke"),
            Showing(secret()),
        ]
        if token:
            shown.append(RuntimeTokenHttpInterceptor(token))
        return RuntimeHttpClient.from_server_address(
            self.address, False, self.authority, shown,
            retry_invoker=make_simple_http_retry_invoker(),
        )  # fmt: skip

    def ours(self) -> httpx.Client:
        """To the layers before it that are no part of Flower."""
        trusted = ssl.create_default_context(cadata=self.authority.decode("ascii"))
        shown = {HEADER: secret().decode("ascii")}
        return httpx.Client(
            base_url=f"https://{self.address}", headers=shown, verify=trusted, timeout=PATIENCE
        )

    def admit(self, public: Path, name: str) -> None:
        """Have it answer the client that has this key."""
        control = self.control()
        try:
            key = try_load_public_key(public)
            control.RegisterNode(RegisterNodeRequest(public_key=key, name=name))
        finally:
            control.close()


class Hall(HttpGrid):
    """A run of its own, in which messages go to clients and come back."""

    def __init__(self, link: Link, token: str) -> None:
        super().__init__(link.address, False, link.authority, token=token)
        self._link, self._ours = link, link.ours()

    def _connect(self) -> None:
        self._client = self._link.runtime(self._token)

    def present(self) -> dict[int, str]:
        """When each client that is there came, by its number: one that was killed comes again."""
        return {node.node_id: node.last_activated_at for node in self.get_nodes()}

    def ask(self, messages: Iterable[Message]) -> dict[str, int]:
        """Send them. Returns by the number of each message who was asked."""
        every = list(messages)
        numbers = list(self.push_messages(every))
        return {
            number: message.metadata.dst_node_id
            for number, message in zip(numbers, every, strict=True)
            if number
        }

    def traffic(self) -> tuple[int, int]:
        """Bytes (up, down) between clients and server so far."""
        said = self._told(TRAFFIC)
        return int(said["up"]), int(said["down"])

    def wait(self) -> None:
        """Until another answer may have come, for a moment at most. Who looks after the processes says why there is none."""
        try:
            self._told(NEWS)
        except NetsukeError:
            time.sleep(WAIT)

    def heard(self, numbers: Iterable[str]) -> dict[str, Message]:
        """What came back so far, by the number of what was asked."""
        replies = self.pull_messages(list(numbers))
        return {reply.metadata.reply_to_message_id: reply for reply in replies}

    def close(self) -> None:
        super().close()
        self._ours.close()

    def _told(self, path: str) -> Any:
        """By the layers that are ours."""
        try:
            return self._ours.get(path).raise_for_status().json()
        except httpx.HTTPError as error:
            raise NetsukeError(f"federate: the SuperLink does not answer: {error}") from error


@contextmanager
def opened(link: Link) -> Iterator[Hall]:
    """A new run at a SuperLink, over with the block."""
    run = _started(link)
    token = _acquired(link, run)
    hall = Hall(link, token)
    client = hall._runtime_client
    beat = HeartbeatSender(make_task_heartbeat_fn_http(client))
    beat.start()
    given = client.PullTaskInput(PullTaskInputRequest())
    TaskIdentity.task_id, TaskIdentity.run_id = given.task_id, given.run.run_id
    TaskIdentity.node_id = given.context.node_id
    hall.set_run(run_from_proto(given.run))
    ended = SubStatus.FAILED
    try:
        yield hall
        ended = SubStatus.COMPLETED
    finally:
        told = context_to_proto(context_from_proto(given.context))
        client.PushTaskOutput(PushTaskOutputRequest(context=told, sub_status=ended, details=""))
        beat.stop()
        hall.close()


def _started(link: Link) -> int:
    files: dict[str, bytes | Path] = {
        "pyproject.toml": APP.encode(), "netsuke_federation.py": STUB.encode()
    }  # fmt: skip
    content, _ = build_fab_from_files(files)
    fab = Fab(hashlib.sha256(content).hexdigest(), content, {})
    control = link.control()
    try:
        return int(control.StartRun(StartRunRequest(fab=fab_to_proto(fab))).run_id)
    finally:
        control.close()


def _acquired(link: Link, run: int) -> str:
    """The right to speak for the run's server."""
    client, end = link.runtime(), time.monotonic() + 30
    try:
        while time.monotonic() < end:
            asked = AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP])
            found = client.AcquireTask(asked)
            if found.HasField("task") and found.token and found.task.run_id == run:
                return str(found.token)
            time.sleep(WAIT)
    finally:
        client.close()
    raise NetsukeError("federate: Flower's server did not begin the run within 30 s")
