"""What one machine keeps of what it did not send."""

from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass, field

import torch
from torch import Tensor


class Memory(ABC):
    """Of vectors by name: asked before each is packed, told after."""

    @abstractmethod
    def with_kept(self, name: Hashable, values: Tensor) -> Tensor:
        """What to send: these values, and what was kept for it."""

    @abstractmethod
    def sent(self, name: Hashable, wanted: Tensor, sent: Tensor) -> None:
        """Take note of what was sent of what was wanted."""


class Forgetful(Memory):
    """Keeps nothing: for what is unbiased."""

    def with_kept(self, name: Hashable, values: Tensor) -> Tensor:
        return values

    def sent(self, name: Hashable, wanted: Tensor, sent: Tensor) -> None:
        return


@dataclass
class Feedback(Memory):
    """What was not sent is added to what is sent next (Seide et al., 2014, "1-bit stochastic gradient descent"; Karimireddy et
    al., 2019, "Error feedback fixes SignSGD")."""

    _left: dict[Hashable, Tensor] = field(default_factory=dict)

    def with_kept(self, name: Hashable, values: Tensor) -> Tensor:
        left = self._left.get(name)
        return values if left is None else values + left

    def sent(self, name: Hashable, wanted: Tensor, sent: Tensor) -> None:
        self._left[name] = _finite(wanted - sent)


@dataclass
class Corrected(Memory):
    """Momentum is gathered here, value by value, and not by the optimizer, which would treat what comes late as if it were new; a
    value that was sent begins anew (Lin et al., 2018, "Deep gradient compression", sections 3.1 and 3.2).

    momentum: of SGD; the optimizer is given none.
    """

    momentum: float
    _speed: dict[Hashable, Tensor] = field(default_factory=dict)
    _gathered: dict[Hashable, Tensor] = field(default_factory=dict)

    def with_kept(self, name: Hashable, values: Tensor) -> Tensor:
        speed, gathered = self._speed.get(name), self._gathered.get(name)
        speed = values.clone() if speed is None else self.momentum * speed + values
        self._speed[name] = speed
        return speed.clone() if gathered is None else gathered + speed

    def sent(self, name: Hashable, wanted: Tensor, sent: Tensor) -> None:
        left = sent == 0
        self._gathered[name] = _finite(wanted * left)
        self._speed[name] = _finite(self._speed[name] * left)


def _finite(values: Tensor) -> Tensor:
    """What was not finite was told as such, and is over: kept, it would spoil every later step."""
    return torch.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
