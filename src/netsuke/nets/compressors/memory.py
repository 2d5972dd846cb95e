"""What one machine keeps of what it did not send."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
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

    @abstractmethod
    def moved(self, name: Hashable, to: Callable[[Tensor], Tensor]) -> None:
        """Vectors of this name are of other values from now on: ``to`` gives what there is of an earlier one."""

    @abstractmethod
    def lost(self, name: Hashable) -> None:
        """What was sent last did not arrive."""


class Forgetful(Memory):
    """Keeps nothing: for what is unbiased."""

    def with_kept(self, name: Hashable, values: Tensor) -> Tensor:
        return values

    def sent(self, name: Hashable, wanted: Tensor, sent: Tensor) -> None:
        return

    def moved(self, name: Hashable, to: Callable[[Tensor], Tensor]) -> None:
        return

    def lost(self, name: Hashable) -> None:
        return


@dataclass
class Feedback(Memory):
    """What was not sent is added to what is sent next (Seide et al., 2014, "1-bit stochastic gradient descent"; Karimireddy et
    al., 2019, "Error feedback fixes SignSGD")."""

    _left: dict[Hashable, Tensor] = field(default_factory=dict)
    _last: dict[Hashable, Tensor] = field(default_factory=dict)

    def with_kept(self, name: Hashable, values: Tensor) -> Tensor:
        left = self._left.get(name)
        return values if left is None else values + left

    def sent(self, name: Hashable, wanted: Tensor, sent: Tensor) -> None:
        self._left[name], self._last[name] = _finite(wanted - sent), _finite(sent)

    def moved(self, name: Hashable, to: Callable[[Tensor], Tensor]) -> None:
        for kept in (self._left, self._last):
            if name in kept:
                kept[name] = to(kept[name])

    def lost(self, name: Hashable) -> None:
        if name in self._last:
            self._left[name] = self._left[name] + self._last.pop(name)


@dataclass
class _Course:
    """Of each value. speed: its momentum. gathered: what was not sent yet. waited: steps since it was."""

    speed: Tensor
    gathered: Tensor
    waited: Tensor


@dataclass
class Corrected(Memory):
    """Momentum is gathered here, value by value, and not by the optimizer, which would treat what comes late as if it were new
    (Lin et al., 2018, "Deep gradient compression", section 3.1).

    There a value that was sent begins anew without momentum, so that none is carried on that was stale (section 3.2). Here that
    is so where it waited for longer than momentum remembers: what is sent at every step has the momentum of SGD.
    momentum: of SGD; the optimizer is given none. Its weight decay, which no gradient tells of, has none either.
    """

    momentum: float
    _courses: dict[Hashable, _Course] = field(default_factory=dict)

    def with_kept(self, name: Hashable, values: Tensor) -> Tensor:
        course = self._courses.get(name)
        if course is None:
            course = _Course(*(torch.zeros_like(values) for _ in range(3)))
            self._courses[name] = course
        course.speed.mul_(self.momentum).add_(values)
        course.gathered.add_(course.speed)
        course.waited.add_(1)
        return course.gathered

    def sent(self, name: Hashable, wanted: Tensor, sent: Tensor) -> None:
        course, spoilt = self._courses[name], ~wanted.isfinite()
        gone = (sent != 0) | spoilt
        stale = gone & (course.waited > 1 / (1 - self.momentum))
        course.speed.masked_fill_(stale | spoilt, 0.0)
        course.gathered.sub_(_finite(sent)).masked_fill_(spoilt, 0.0)
        course.waited.masked_fill_(gone, 0.0)

    def moved(self, name: Hashable, to: Callable[[Tensor], Tensor]) -> None:
        if name in self._courses:
            was = self._courses[name]
            self._courses[name] = _Course(to(was.speed), to(was.gathered), to(was.waited))

    def lost(self, name: Hashable) -> None:
        raise NotImplementedError("between processes that train in step all arrives")


def _finite(values: Tensor) -> Tensor:
    """What was not finite was told as such, and is over: kept, it would spoil every later step."""
    return torch.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
