"""Small whole numbers in few bits: bytes of 7 bits each, and Rice codes."""

import numpy as np

from netsuke.packer.block import Array


def varint(value: int) -> bytes:
    """A whole number in base 128, low digits first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


class Cursor:
    """Numbers read off a run of bytes. Raises ValueError where it ends early."""

    def __init__(self, content: memoryview) -> None:
        self._content, self._at, self._bit = content, 0, 0

    def byte(self) -> int:
        return self.bytes(1)[0]

    def bytes(self, count: int) -> memoryview:
        taken = self._content[self._at : self._at + count]
        self._at += count
        if len(taken) != count:
            raise ValueError("it ends early")
        return taken

    def varint(self) -> int:
        value = 0
        for shift in range(0, 63, 7):
            byte = self.byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a number does not end")

    def rice(self, count: int, parameter: int) -> list[int]:
        """So many numbers of ``rice``; the rest of their last byte is left out."""
        values, place, content = [], self._at * 8, self._content
        for _ in range(count):
            whole = 0
            while content[place >> 3] >> (place & 7) & 1:
                whole, place = whole + 1, place + 1
            place += 1
            low = 0
            for shift in range(parameter):
                low |= (content[place >> 3] >> (place & 7) & 1) << shift
                place += 1
            values.append(_signed(whole << parameter | low))
        self._at = (place + 7) // 8
        return values

    @property
    def rest(self) -> memoryview:
        """What was not read."""
        return self._content[self._at :]


def rice(values: list[int], parameter: int) -> bytes:
    """Whole numbers of either sign, the small ones in few bits (Rice, 1979)."""
    bits: list[int] = []
    for value in values:
        number = _unsigned(value)
        bits += [1] * (number >> parameter) + [0]
        bits += [number >> shift & 1 for shift in range(parameter)]
    return np.packbits(np.array(bits, np.uint8), bitorder="little").tobytes()


def rice_size(values: Array, parameter: int) -> int:
    """Bytes that ``rice`` makes of them."""
    numbers = np.where(values < 0, -2 * values - 1, 2 * values)
    return int((int((numbers >> parameter).sum()) + len(values) * (1 + parameter) + 7) // 8)


def _unsigned(value: int) -> int:
    return -2 * value - 1 if value < 0 else 2 * value


def _signed(number: int) -> int:
    return -(number + 1 >> 1) if number & 1 else number >> 1
