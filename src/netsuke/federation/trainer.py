"""The process that trains: it serves SuperNodes of this machine for as long as they run, so that torch is imported and the
network traced once, not in every round.

``python -m netsuke.federation.trainer JOB ADDRESS=NUMBER …``: the job's JSON file, and of each SuperNode its address and which
client it is.
"""

import json
import sys
import time
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
from flwr.app import Context, Message
from flwr.app.error import Error
from flwr.common.constant import ErrorCode, SubStatus
from flwr.common.serde import context_to_proto
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullAppMessagesRequest,
    PullAppMessagesResponse,
    PushTaskOutputRequest,
)
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.inflatable.inflatable_object import no_object_id_recompute
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, RuntimeVersionHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message

from netsuke.agent.parent import end_with_parent
from netsuke.core.errors import NetsukeError
from netsuke.federation.client import Client
from netsuke.federation.flower import NEVER, WAIT, impatient
from netsuke.federation.guard import Showing, secret
from netsuke.federation.job import Job

PATIENCE = 30.0
"""Seconds in which the message of a task must come."""


class Served:
    """A SuperNode, and the client that it speaks for."""

    def __init__(self, address: str, client: Client) -> None:
        self.address, self.client = address, client
        self._looking = connected(address)

    def look(self) -> bool:
        """Do what there is to do; False where there is nothing."""
        asked = AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])
        try:
            found = self._looking.AcquireTask(asked)
            if not (found.HasField("task") and found.token):
                return False
            self._work(found.token)
        except httpx.TransportError as error:  # it is not there, and may come back
            print(f"{self.address}: {error}", flush=True)
            return False
        return True

    def _work(self, token: str) -> None:
        caller = connected(self.address, token)
        try:
            context = self._answered(caller)
        except httpx.TransportError:
            raise
        except Exception as error:
            # A SuperNode tells nobody of a task that failed, and takes no other; of one that fell silent it says so.
            print(f"{self.address}: {error!r}", flush=True)
        else:
            told = context_to_proto(context)
            caller.PushTaskOutput(
                PushTaskOutputRequest(context=told, sub_status=SubStatus.COMPLETED)
            )
        finally:
            caller.close()

    def _answered(self, caller: RuntimeHttpClient) -> Context:
        """Take a task and answer it."""
        beat = HeartbeatSender(make_task_heartbeat_fn_http(caller))
        beat.start()
        try:
            message, context, _, _ = pull_task_input(caller)
            answer = self._answer(message, context)
            with no_object_id_recompute():  # of every part of it, for each part around that
                push_message(caller, answer, context)
        finally:
            beat.stop()
        return context

    def _answer(self, message: Message, context: Context) -> Message:
        try:
            return self.client.app(message, context)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)


class _Waiting(RuntimeHttpClient):
    """A SuperNode has a task before it has the message that the task is of."""

    def PullMessages(  # noqa: N802, it is named so in Flower
        self, request: PullAppMessagesRequest
    ) -> PullAppMessagesResponse:
        """Once there is one, or it does not come."""
        end = time.monotonic() + PATIENCE
        while True:
            found = super().PullMessages(request)
            if found.messages_list or time.monotonic() > end:
                return found
            time.sleep(WAIT)


def connected(address: str, token: str = "") -> RuntimeHttpClient:
    """To the Runtime API of a server on this machine."""
    shown: list[Any] = [RuntimeVersionHttpInterceptor(component_name="netsuke"), Showing(secret())]
    if token:
        shown.append(RuntimeTokenHttpInterceptor(token))
    return _Waiting.from_server_address(address, True, None, shown)


def main() -> None:
    end_with_parent()
    job = Job(**json.loads(Path(sys.argv[1]).read_text(encoding="utf8")))
    served = []
    for one in sys.argv[2:]:
        address, _, number = one.partition("=")
        try:
            served.append(Served(address, Client(job, int(number))))
        except NetsukeError as error:
            print(error, flush=True)
            sys.exit(NEVER)
    impatient()
    idle = 0  # looks since there was something to do: one at each SuperNode is without a pause
    for node in cycle(served):
        idle = 0 if node.look() else idle + 1
        if idle >= len(served):
            time.sleep(WAIT)


if __name__ == "__main__":
    main()
