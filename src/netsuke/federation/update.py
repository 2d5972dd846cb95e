"""What training changed of a network, in few bytes, and the network that it makes of another's."""

from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor

from netsuke.core.errors import NetsukeError
from netsuke.nets.compressors.compressor import Compressor
from netsuke.nets.compressors.memory import Memory

State = Mapping[str, Tensor]
"""Of a network, by name; what is no floating point is not learned, and not sent."""
WEIGHTS = "weights"
"""What a memory knows them by."""


def learned(state: State) -> dict[str, Tensor]:
    """What of a state is sent."""
    return {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}


def changed(before: State, after: State, by: Compressor, memory: Memory, draw: Generator) -> Tensor:
    """after − before, uint8: all weights of two or more dimensions as the compressor packs them, then all else (biases,
    scales, statistics) as float32: it is a hundredth of the bytes and decides what a layer is worth. memory: of what was not
    sent so far."""
    names = _large(before)
    wanted = memory.with_kept(WEIGHTS, flat(after, names) - flat(before, names))
    packed = by.pack(wanted, draw)
    memory.sent(WEIGHTS, wanted, by.unpack(packed, len(wanted)))
    rest = flat(after, _small(before)) - flat(before, _small(before))
    return torch.cat([packed, rest.view(torch.uint8)])


def moved(memory: Memory, before: State, shape: Callable[[State], State]) -> None:
    """The network is of another shape from now on. before: a state of the earlier one. shape: what is left of such tensors, by
    name."""
    names = _large(before)
    memory.moved(WEIGHTS, lambda values: flat(shape(parted(values, before, names)), names))


def applied(before: State, update: Tensor, by: Compressor) -> dict[str, Tensor]:
    """before + update. Raises NetsukeError where it is not of such a network."""
    weights, small = _large(before), _small(before)
    count, rest = (sum(before[name].numel() for name in names) for names in (weights, small))
    size = by.pack(torch.zeros(count), Generator()).numel()
    if update.shape != (size + 4 * rest,) or update.dtype is not torch.uint8:
        raise NetsukeError(
            f"its update is of another network: {update.numel():,} values of {update.dtype}, {size + 4 * rest:,} bytes expected"
        )
    try:
        change = by.unpack(update[:size], count)
    except (RuntimeError, IndexError) as error:
        raise NetsukeError(f"its update is of another network: {error}") from error
    others = update[size:].clone().view(torch.float32)
    return _added(before, weights, change) | _added(before, small, others)


def _large(state: State) -> list[str]:
    """In an order that both ends have."""
    return sorted(name for name, tensor in learned(state).items() if tensor.ndim > 1)


def _small(state: State) -> list[str]:
    return sorted(name for name, tensor in learned(state).items() if tensor.ndim <= 1)


def flat(state: State, names: list[str]) -> Tensor:
    """These tensors as one vector."""
    if not names:
        return torch.zeros(0)
    return torch.cat([state[name].detach().float().flatten() for name in names])


def parted(values: Tensor, like: State, names: list[str]) -> dict[str, Tensor]:
    """What ``flat`` made one vector of, by name again, in these shapes."""
    parts = torch.split(values, [like[name].numel() for name in names])
    return {name: part.view(like[name].shape) for name, part in zip(names, parts, strict=True)}


def _added(before: State, names: list[str], change: Tensor) -> dict[str, Tensor]:
    return {name: before[name] + part for name, part in parted(change, before, names).items()}
