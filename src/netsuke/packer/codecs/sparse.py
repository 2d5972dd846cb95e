"""Values that are mostly zero: where the others stand, then those alone."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from netsuke.packer import codecs, entropy
from netsuke.packer.block import Form, elements
from netsuke.packer.codecs.base import Codec, Coded
from netsuke.packer.entropy.bits import Cursor, varint

MOSTLY = 0.3
"""Share of zeros from which it is tried."""


class Sparse(Codec):
    """A pruned tensor of floats, or of integers so many that each is rare. Written: bytes of the map, the map (a symbol an element, 1 where it is
    not zero, in the planes of ``packer.entropy``), the number of non-zeros, and these as a block of one
    dimension: name of its codec, its settings, its payload."""

    name: ClassVar[str] = "sparse"
    rank: ClassVar[int] = 6

    def encode(self, raw: bytes | memoryview, form: Form, limit: int) -> Coded | None:
        if form.width < 8 or not form.count:
            return None
        values = elements(raw, form)
        there = values != 0
        kept = values[there]
        if not 0 < len(kept) < (1 - MOSTLY) * len(values):
            return None
        where = entropy.encode(there.view(np.uint8), 2, form.shape)
        form = Form(form.width, (len(kept),), kept.nbytes)
        name, made = codecs.smallest(kept.tobytes(), form)
        head = b"".join(
            [varint(len(where)), where, varint(len(kept)), varint(len(name)), name.encode("utf8")]
        )
        settings = b"".join(varint(made.settings[key]) for key in codecs.codecs()[name].fields)
        payload = head + settings + made.payload
        return Coded(payload, {}) if len(payload) < limit else None

    def decode(
        self, payload: memoryview, form: Form, settings: Mapping[str, int]
    ) -> Iterator[bytes]:
        cursor = Cursor(payload)
        where = cursor.bytes(cursor.varint())
        count = cursor.varint()
        codec = codecs.codecs()[bytes(cursor.bytes(cursor.varint())).decode("utf8")]
        own = {key: cursor.varint() for key in codec.fields}
        if form.width < 8 or codec.name == self.name or count > form.count:
            raise ValueError("it has no such zeros")
        inner = Form(form.width, (count,), count * form.dtype.itemsize)
        kept = np.frombuffer(b"".join(codec.decode(cursor.rest, inner, own)), form.dtype)
        at = 0
        for there in entropy.decode(where, 2, form.shape, form.count):
            here = there.view(bool)
            values = np.zeros(len(there), form.dtype)
            number = int(np.count_nonzero(here))
            values[here] = kept[at : at + number]
            at += number
            yield values.tobytes()
        if at != len(kept):
            raise ValueError("it has more values than places")
