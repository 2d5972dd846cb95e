"""What a message of Flower's holds: networks as arrays, settings and figures by name."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from torch import Tensor

from netsuke.core.errors import NetsukeError
from netsuke.federation.update import State, flat, learned, parted

ARRAYS, CONFIG, METRICS = "arrays", "config", "metrics"
WHOLE, UPDATE = "whole", "update"
"""The one array of a message: Flower asks for each on its own, with a kilobyte around it."""
WORTH = "query.worth"
"""The kind of message that asks what channels are worth."""


def letter(
    arrays: Mapping[str, Tensor] | None = None,
    metrics: Mapping[str, Any] | None = None,
    **config: str,
) -> RecordDict:
    """The content of a message."""
    content: dict[str, Any] = {CONFIG: ConfigRecord(dict(config))} if config else {}
    if arrays is not None:
        content[ARRAYS] = record(arrays)
    if metrics is not None:
        content[METRICS] = MetricRecord(dict(metrics))
    return RecordDict(content)


def record(arrays: Mapping[str, Tensor]) -> ArrayRecord:
    """Tensors as Flower sends them."""
    return ArrayRecord({n: Array(np.asarray(t.detach().cpu())) for n, t in arrays.items()})


def tensors(arrays: ArrayRecord) -> dict[str, Tensor]:
    """And again as tensors."""
    return {name: torch.from_numpy(array.numpy().copy()) for name, array in arrays.items()}


def packed(state: State) -> ArrayRecord:
    """A network's state as one array."""
    return record({WHOLE: flat(state, sorted(learned(state)))})


def state_in(message: Message, like: State) -> dict[str, Tensor]:
    """What ``packed`` made of a state with these names and shapes. Raises NetsukeError where it was of another."""
    known, came = learned(like), arrays_in(message).get(WHOLE)
    count = sum(tensor.numel() for tensor in known.values())
    if came is None or came.shape != (count,):
        size = "nothing" if came is None else f"{came.numel():,} values"
        raise NetsukeError(f"its network is another: {size} came, {count:,} are expected")
    return parted(came, known, sorted(known))


def arrays_in(message: Message) -> dict[str, Tensor]:
    """Raises NetsukeError where there are none, or they are broken."""
    try:
        return tensors(message.content.array_records[ARRAYS])
    except (KeyError, TypeError, ValueError) as error:
        raise NetsukeError(f"its message cannot be read: {error}") from error


def figure_in(message: Message, name: str) -> float:
    """Raises NetsukeError where there is no such number."""
    records = message.content.metric_records
    found = records[METRICS].get(name) if METRICS in records else None
    if not isinstance(found, int | float):
        raise NetsukeError(f"its message has no {name}")
    return float(found)


def text_in(message: Message, name: str) -> str:
    """Raises NetsukeError where there is no such text."""
    records = message.content.config_records
    found = records[CONFIG].get(name) if CONFIG in records else None
    if not isinstance(found, str):
        raise NetsukeError(f"its message has no {name}")
    return found


def described(state: State) -> dict[str, list[int]]:
    """Shapes by name, of what is learned."""
    return {name: list(tensor.shape) for name, tensor in learned(state).items()}
