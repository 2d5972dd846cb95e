"""Processes that torchrun started, as a Team: what they tell each other, through Gloo.

Nothing crosses but tensors and JSON. torch is imported where there is more than one process only.
"""

import gc
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from netsuke.core.errors import NetsukeError
from netsuke.core.team import Team

if TYPE_CHECKING:
    from torch import Tensor, nn

MISTAKE = 2
"""Exit code of a user's mistake."""
PATIENCE = timedelta(days=1)
"""How long the others wait while the first one measures."""


@contextmanager
def launched() -> Iterator[Team]:
    """The team of this process by the environment that torchrun gives it; alone without."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team()
        return
    # Defaults of its functions hold the group that is there when it is first imported, by an optimizer at the latest. Such a
    # group outlives its end, and now and then its threads abort the process as it exits.
    import torch.distributed.nn.functional  # noqa: F401
    from torch import distributed

    distributed.init_process_group("gloo", timeout=PATIENCE)
    team = Team(distributed.get_rank(), size)
    try:
        yield team
        distributed.barrier()  # who leaves while another still listens may abort
    except NetsukeError:
        if team.leads:
            raise
        raise SystemExit(MISTAKE) from None  # the leader says it
    finally:
        gc.collect()  # whatever still holds the group
        distributed.destroy_process_group()


def agreed(team: Team, find: Callable[[], Any]) -> Any:
    """What the leader finds, told to all; anything JSON can hold. Raises NetsukeError in all where the leader does."""
    if team.size == 1:
        return find()
    said: dict[str, Any] = {}
    if team.leads:
        try:
            said = {"found": find()}
        except NetsukeError as error:
            said = {"error": str(error)}
    heard = _told(json.dumps(said) if team.leads else "")
    if "error" in heard:
        raise NetsukeError(heard["error"])
    return heard["found"]


def in_turn(team: Team, make: Callable[[], Any]) -> Any:
    """Made by the leader first, who may leave files that the others then find. Raises NetsukeError in all where the
    leader does."""
    made: list[Any] = []
    agreed(team, lambda: made.append(make()))
    return made[0] if team.leads else make()


def alike(team: Team, network: "nn.Module") -> None:
    """Give every process the leader's parameters and buffers. Raises NetsukeError where the shapes differ."""
    if team.size == 1:
        return
    from torch import distributed

    shapes = [[name, list(t.shape)] for name, t in network.state_dict().items()]
    if not everywhere(team, agreed(team, lambda: shapes) == shapes):
        raise NetsukeError(
            "train: the processes came to different networks; use machines of one kind"
        )
    _through(network.state_dict().values(), lambda flat: distributed.broadcast(flat, 0))


def level(team: Team, network: "nn.Module") -> None:
    """Make every buffer the mean of all, such as the statistics of BatchNorm."""
    if team.size > 1:
        _through(network.buffers(), lambda flat: _mean(flat, 1 / team.size))


def averaged(team: Team, weights: Iterable["nn.Parameter"], share: float) -> None:
    """Make every gradient the mean over the whole batch. share: of it that this process had."""
    if team.size > 1:
        _through((w.grad for w in weights if w.grad is not None), lambda flat: _mean(flat, share))


def everywhere(team: Team, holds: bool) -> bool:
    """Whether it holds in every process."""
    if team.size == 1:
        return holds
    import torch
    from torch import distributed

    count = torch.tensor(int(holds))
    distributed.all_reduce(count)
    return int(count) == team.size


@contextmanager
def own_chance(team: Team, seed: int) -> Iterator[None]:
    """Chance of one's own within, and then what all have again."""
    if team.size == 1:
        yield
        return
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed * team.size + team.rank)
        yield


def _told(text: str) -> Any:
    import torch
    from torch import distributed

    said = torch.frombuffer(bytearray(text.encode() or b" "), dtype=torch.uint8)
    length = torch.tensor(len(said))
    distributed.broadcast(length, 0)
    if distributed.get_rank():
        said = torch.empty(int(length), dtype=torch.uint8)
    distributed.broadcast(said, 0)
    return json.loads(said.numpy().tobytes())


def _mean(flat: "Tensor", share: float) -> None:
    from torch import distributed

    distributed.all_reduce(flat.mul_(share))


def _through(tensors: Iterable["Tensor"], change: Callable[["Tensor"], object]) -> None:
    """Change all of them at once, those of one type as one long row."""
    import torch

    kinds: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        if tensor.is_floating_point():
            kinds.setdefault(tensor.dtype, []).append(tensor)
    with torch.no_grad():
        for each in kinds.values():
            flat = torch.cat([t.reshape(-1) for t in each])
            change(flat)
            for tensor, part in zip(each, flat.split([t.numel() for t in each]), strict=True):
                tensor.copy_(part.reshape(tensor.shape))
