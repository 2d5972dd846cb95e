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
from flwr.proto.runtime_pb2 import AcquireTaskRequest, PushTaskOutputRequest
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
        beat = HeartbeatSender(make_task_heartbeat_fn_http(caller))
        beat.start()
        context, ended, why = None, SubStatus.FAILED, ""
        try:
            message, context, _, _ = pull_task_input(caller)
            answer = self._answer(message, context)
            with no_object_id_recompute():  # of every part of it, for each part around that
                push_message(caller, answer, context)
            ended = SubStatus.COMPLETED
        except httpx.TransportError:
            raise
        except Exception as error:  # whatever it is, Flower is told, and the next task is taken
            why = repr(error)
        finally:
            beat.stop()
            told = None if context is None else context_to_proto(context)
            caller.PushTaskOutput(
                PushTaskOutputRequest(context=told, sub_status=ended, details=why)
            )
            caller.close()

    def _answer(self, message: Message, context: Context) -> Message:
        try:
            return self.client.app(message, context)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)


def connected(address: str, token: str = "") -> RuntimeHttpClient:
    """To the Runtime API of a server on this machine."""
    shown: list[Any] = [RuntimeVersionHttpInterceptor(component_name="netsuke"), Showing(secret())]
    if token:
        shown.append(RuntimeTokenHttpInterceptor(token))
    return RuntimeHttpClient.from_server_address(address, True, None, shown)


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
