"""What one part of a network makes of the tensors that come to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netsuke.core.data import Array
from netsuke.core.head import Head
from netsuke.core.runtime import Session
from netsuke.wire.message import Message, WireError, arrays_of, with_arrays


@dataclass(frozen=True)
class Stage:
    """A session among tensors with names. reads: its inputs. told: of a part, ``{"of": version, "gives": names of its
    outputs, "passes": what later parts read}``; None of a whole network, whose tensors have no names on the way. head:
    answers what it is sure of, so that the parts behind need not. whole: answers where they are gone."""

    session: Session
    reads: Sequence[str]
    told: Mapping[str, Any] | None = None
    head: Head | None = None
    whole: Session | None = None

    def run(self, asked: Message) -> Message:
        """The message to go on with. Raises WireError for tensors it does not know, or of another version."""
        arrays = arrays_of(asked)
        if self.told is None:
            return with_arrays({}, self.session.run(arrays))
        held = self._held(asked, arrays)
        given = self.session.run([held[name] for name in self.reads])
        kept = {name: held[name] for name in self.told["passes"]}
        out = kept | dict(zip(self.told["gives"], given, strict=True))
        return with_arrays({"of": self.told["of"], "names": list(out)}, list(out.values()))

    def early(self, made: Message) -> Message | None:
        """The answer, where the head is sure of every sample; None where later parts are to be asked."""
        if self.head is None:
            return None
        held = dict(zip(made.head["names"], arrays_of(made), strict=True))
        outputs, sure = self.head.answer(held[self.head.tensor])
        return with_arrays({"how": "exit"}, [outputs]) if bool(np.all(sure)) else None

    def alone(self, asked: Message) -> Message:
        """The answer without the parts behind."""
        assert self.whole is not None, "asked where there is a whole network to fall back on"
        return with_arrays({"how": "offline"}, self.whole.run(arrays_of(asked)))

    def _held(self, asked: Message, arrays: Sequence[Array]) -> dict[str, Array]:
        assert self.told is not None
        if asked.head.get("of") != self.told["of"]:
            raise WireError(
                f"a tensor of version {str(asked.head.get('of'))[:16]} for a part of {self.told['of'][:16]}: serve all "
                "parts anew"
            )
        names = asked.head.get("names")
        if not isinstance(names, list) or len(names) != len(arrays):
            raise WireError(f"{len(arrays)} tensors with other names than one each")
        held = {str(name): array for name, array in zip(names, arrays, strict=True)}
        missing = [name for name in (*self.reads, *self.told["passes"]) if name not in held]
        if missing:
            raise WireError(f"tensors {missing} are missing; there are {sorted(held)}")
        return held
