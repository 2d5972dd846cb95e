"""What a message of Flower's holds: networks, settings and figures by name."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from netsuke.core.errors import NetsukeError
from netsuke.federation.update import State, flat, learned, parted

LETTER, ARRAYS = "letter", "arrays"
"""The one record of a message, and what its arrays are in, as safetensors: Flower asks for each record on its own, for an
array in three parts, and each is a request at either end of two ways."""
WHOLE, UPDATE = "whole", "update"
WORTH = "query.worth"
"""The kind of message that asks what channels are worth."""


def letter(
    arrays: Mapping[str, Tensor] | None = None,
    figures: Mapping[str, float] | None = None,
    **texts: str,
) -> RecordDict:
    """The content of a message."""
    said: dict[str, Any] = {**texts, **(figures or {})}
    if arrays is not None:
        said[ARRAYS] = save({name: t.detach().cpu().contiguous() for name, t in arrays.items()})
    return RecordDict({LETTER: ConfigRecord(said)})


def size(message: Message) -> int:
    """Bytes of its arrays."""
    found = _said(message, ARRAYS)
    return len(found) if isinstance(found, bytes) else 0


def report(state: State, figures: Mapping[str, float]) -> RecordDict:
    """A client's network as a strategy of Flower's expects it."""
    return RecordDict({"arrays": record(state), "metrics": MetricRecord(dict(figures))})


def record(arrays: Mapping[str, Tensor]) -> ArrayRecord:
    """Tensors as Flower's strategies take them."""
    return ArrayRecord({n: Array(np.asarray(t.detach().cpu())) for n, t in arrays.items()})


def tensors(arrays: ArrayRecord) -> dict[str, Tensor]:
    """And again as tensors."""
    return {name: torch.from_numpy(array.numpy().copy()) for name, array in arrays.items()}


def packed(state: State) -> dict[str, Tensor]:
    """A network's state as one array."""
    return {WHOLE: flat(state, sorted(learned(state)))}


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
    found = _said(message, ARRAYS)
    if not isinstance(found, bytes):
        raise NetsukeError("its message cannot be read: it has no arrays")
    try:
        return load(found)
    except (SafetensorError, ValueError, KeyError) as error:
        raise NetsukeError(f"its message cannot be read: {error}") from error


def figure_in(message: Message, name: str) -> float:
    """Raises NetsukeError where there is no such number."""
    found = _said(message, name)
    if not isinstance(found, int | float):
        raise NetsukeError(f"its message has no {name}")
    return float(found)


def text_in(message: Message, name: str) -> str:
    """Raises NetsukeError where there is no such text."""
    found = _said(message, name)
    if not isinstance(found, str):
        raise NetsukeError(f"its message has no {name}")
    return found


def _said(message: Message, name: str) -> Any:
    """None where it is not."""
    records = message.content.config_records
    return records[LETTER].get(name) if LETTER in records else None


def described(state: State) -> dict[str, list[int]]:
    """Shapes by name, of what is learned."""
    return {name: list(tensor.shape) for name, tensor in learned(state).items()}
