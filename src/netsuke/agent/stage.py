"""What one part of a network makes of the tensors that come to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netsuke.core.data import Array
from netsuke.core.runtime import Session
from netsuke.wire.message import Message, WireError, arrays_of, with_arrays


@dataclass(frozen=True)
class Stage:
    """A session among tensors with names. reads: its inputs. told: of a part, ``{"of": version, "gives": names of its
    outputs, "passes": what later parts read}``; None of a whole network, whose tensors have no names on the way."""

    session: Session
    reads: Sequence[str]
    told: Mapping[str, Any] | None = None

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
