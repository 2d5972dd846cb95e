"""Randomness that is drawn from a seed, and left as it was."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Everything random (ours, and the task's augment) drawn from the seed; states put back."""
    states: tuple[tuple[Callable[[Any], None], Any], ...] = (
        (random.setstate, random.getstate()),
        (np.random.set_state, np.random.get_state()),
        (torch.set_rng_state, torch.get_rng_state()),
    )
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        for restore, state in states:
            restore(state)
