"""Answers of clients that are still on their way, part by part. Who asks Flower for one of those waits for its last part, however
long that takes, or three minutes where its client is no more."""

import time
from dataclasses import dataclass, field

from flwr.proto.fleet_pb2 import PushMessagesRequest, PushMessagesResponse
from flwr.proto.message_pb2 import PushObjectRequest
from flwr.proto.runtime_pb2 import PullAppMessagesRequest
from flwr.supercore.constant import OBJECT_PUSH_SESSION_TTL_SECONDS as FORGOTTEN


@dataclass
class _Upload:
    """of: the number of what is answered. left: parts to come. last: when one came."""

    of: str
    left: set[str]
    last: float = field(default_factory=time.monotonic)


class Uploads:
    """As a SuperLink hears of them, whose answer to the first message of each says which parts it has not."""

    def __init__(self) -> None:
        self._by_session: dict[str, _Upload] = {}

    def begun(self, asked: bytes, answered: bytes) -> bool:
        """Whether there is all of it already. asked, answered: of ``PushMessages``, as they cross the wire."""
        request, found = PushMessagesRequest(), PushMessagesResponse()
        request.ParseFromString(asked)
        found.ParseFromString(answered)
        if not (request.messages_list and found.objects_to_push):
            return True
        of = request.messages_list[0].metadata.reply_to_message_id
        self._by_session[found.session_id] = _Upload(of, set(found.objects_to_push))
        return False

    def came(self, asked: bytes) -> bool:
        """Whether there is all of it now. asked: of ``PushObject``."""
        request = PushObjectRequest()
        request.ParseFromString(asked)
        upload = self._by_session.get(request.session_id)
        if upload is None:
            return False
        upload.left.discard(request.object_id)
        upload.last = time.monotonic()
        if not upload.left:
            del self._by_session[request.session_id]
        return not upload.left

    def without_those_under_way(self, asked: bytes) -> bytes:
        """A request for answers, ``PullMessages``, but for those that are still coming. Flower gives up on those of which nothing comes
        any more, and says so to who asks."""
        since = time.monotonic() - FORGOTTEN
        self._by_session = {s: one for s, one in self._by_session.items() if one.last > since}
        coming = {one.of for one in self._by_session.values()}
        request = PullAppMessagesRequest.FromString(asked)
        whole = [number for number in request.message_ids if number not in coming]
        left: bytes = PullAppMessagesRequest(message_ids=whole).SerializeToString()
        return left
