"""Codecs one by one, and that a further one is found by its place or its entry point."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsuke.packer.block import (  # fmt: skip
    Form,
    bits_for,
    elements,
    pack_bits,
    packed_size,
    raw_bytes,
    unpack_bits,
)
from netsuke.packer.codecs import codecs, smallest
from netsuke.packer.codecs.base import Codec, Coded


@settings(max_examples=60, deadline=None)
@given(bits=st.integers(0, 16), count=st.integers(0, 300), seed=st.integers(0, 99))
def test_codes_come_back_and_take_their_bits(bits: int, count: int, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 2**bits, count)
    packed = pack_bits(codes, bits)
    assert len(packed) == packed_size(count, bits)
    assert np.array_equal(unpack_bits(packed, bits, count), codes)


def test_long_runs_of_codes_come_back() -> None:
    for bits in (1, 3, 11):
        codes = np.random.default_rng(bits).integers(0, 2**bits, 3 * 65_536 + 5)
        assert np.array_equal(unpack_bits(pack_bits(codes, bits), bits, len(codes)), codes)
    with pytest.raises(ValueError, match="end early"):
        unpack_bits(b"12", 3, 6)


def test_bits_that_tell_values_apart() -> None:
    assert [bits_for(n) for n in (1, 2, 3, 4, 7, 8, 9, 16, 17, 65_536)] == [0, 1, 2, 2, 3, 3, 4, 4, 5, 16]  # fmt: skip


def test_two_elements_of_four_bits_to_a_byte() -> None:
    form = Form(4, (3,), 2)
    assert elements(b"\x21\x03", form).tolist() == [1, 2, 3, 0]
    assert raw_bytes(elements(b"\x21\x03", form), form) == b"\x21\x03"


def test_four_elements_of_two_bits_to_a_byte() -> None:
    form = Form(2, (5,), 2)
    assert elements(b"\xe4\x01", form).tolist() == [0, 1, 2, 3, 1, 0, 0, 0]
    assert raw_bytes(elements(b"\xe4\x01", form), form) == b"\xe4\x01"


@pytest.mark.parametrize("name", list(codecs()))
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_what_a_codec_writes_it_reads(name: str, data: st.DataObject) -> None:
    """Each codec alone, on blocks that suit it and blocks that do not."""
    width = data.draw(st.sampled_from([2, 4, 8, 16, 32, 64]))
    shape = tuple(data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=3)))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    size = int(np.prod(shape)) * max(1, width // 8)
    form = Form(width, shape, size)
    raw = rng.integers(0, data.draw(st.integers(1, 256)), size, dtype=np.uint8).tobytes()
    codec = codecs()[name]
    made = codec.encode(raw, form, size + 1)
    if made is not None:
        read = b"".join(codec.decode(memoryview(made.payload), form, made.settings))
        assert read == raw
        assert all(type(v) is int and v >= 0 for v in made.settings.values())


def test_the_smallest_wins() -> None:
    rng = np.random.default_rng(0)
    found = {}
    for name, values in (
        ("raw", rng.integers(0, 256, 600, dtype=np.uint8)),
        ("table", rng.integers(0, 8, 9000, dtype=np.uint8)),
        ("ans", rng.binomial(7, 0.5, 9000).astype(np.uint8)),
        ("lzma", np.arange(9000, dtype=np.uint16).view(np.uint8) // 100 % 7),
    ):
        form = Form(8, values.shape, values.nbytes)
        found[name] = smallest(values.tobytes(), form)
    assert {name: codec for name, (codec, _) in found.items()} == {n: n for n in found}
    assert len(found["table"][1].payload) == 8 + 9000 * 3 // 8


def test_a_further_codec_takes_part(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ones(Codec):
        """For bytes that are all 1."""

        name: ClassVar[str] = "ones"
        rank: ClassVar[int] = -1

        def encode(self, raw: bytes | memoryview, form: Form, limit: int) -> Coded | None:
            return Coded(b"", {}) if set(bytes(raw)) == {1} else None

        def decode(
            self, payload: memoryview, form: Form, settings: Mapping[str, int]
        ) -> Iterator[bytes]:
            yield b"\x01" * form.size

    known = {**{name: type(codec) for name, codec in codecs().items()}, "ones": Ones}
    monkeypatch.setattr("netsuke.packer.codecs.registered", lambda base, package: known)
    assert smallest(b"\x01" * 500, Form(8, (500,), 500)) == ("ones", Coded(b"", {}))
    assert smallest(bytes(500), Form(8, (500,), 500))[0] != "ones"
