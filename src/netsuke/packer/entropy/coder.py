"""The coder: range asymmetric numeral systems (Duda, 2013), as many lanes at once as pay.

A lane is a whole number of 32 bits that symbols are pushed on and popped from; what overflows is
written as words of 16 bits. Lane k has symbols k, k + lanes, ... of a run, so that numpy works on
all lanes at once; a single lane runs in plain Python, which is then quicker.
"""

from collections.abc import Iterator
from itertools import repeat
from typing import NamedTuple

import numpy as np

from netsuke.packer.block import Array

BITS = 12
TOTAL = 1 << BITS
"""What the frequencies of a table add up to."""
LOW = 1 << 16
"""Lanes start here, and stand between here and 1 << 32."""
BATCH = 1 << 19
"""Symbols, about, whose shares are looked up at once."""
U16, UBITS, MASK, ULOW = np.uint32(16), np.uint32(BITS), np.uint32(TOTAL - 1), np.uint32(LOW)


class Models(NamedTuple):
    """One table a context. frequencies: (contexts, symbols), whole numbers, each row adds up to
    TOTAL; 0 where a symbol does not occur."""

    frequencies: Array

    @property
    def starts(self) -> Array:
        """Where each symbol's share of TOTAL starts."""
        return np.cumsum(self.frequencies, 1) - self.frequencies

    @property
    def slots(self) -> tuple[Array, Array, Array]:
        """For each context and each number below TOTAL: the symbol whose share it is in, how large
        that is, and how far from its start."""
        rows, symbols = self.frequencies.shape
        flat = self.frequencies.reshape(-1)
        of = np.repeat(np.arange(rows * symbols), flat)
        offset = np.tile(np.arange(TOTAL), rows) - self.starts.reshape(-1)[of]
        return (of % symbols).astype(np.uint8), flat[of].astype(np.uint32), offset.astype(np.uint32)


def encode(cells: Array, runs: list[int], lanes: int, models: Models) -> bytes:
    """Symbols written: the lanes, then the words in the order in which they are read.

    cells: context × symbols + symbol, of all symbols. runs: how many symbols are read before contexts
    are worked out anew; lanes start over at each.
    """
    flat, starts = models.frequencies.reshape(-1), models.starts.reshape(-1)
    if lanes == 1:
        return _encode_one(cells.tolist(), flat.tolist(), starts.tolist())
    share, start = flat.astype(np.uint32), starts.astype(np.uint32)
    state, words = np.full(lanes, LOW, np.uint32), []
    for steps in _batches(_steps(runs, lanes)):
        first, last = steps[0][0], steps[-1][1]
        part = cells[first:last]
        words.append(_pushed(state, (share.take(part), start.take(part)), steps))
    return state.astype("<u4").tobytes() + b"".join(reversed(words))


def _pushed(state: Array, shares: tuple[Array, Array], steps: list[tuple[int, int]]) -> bytes:
    """Push the symbols of some steps, the last one first; the words that overflow, in reading order.
    shares: of each symbol, its frequency and where its share starts."""
    size, start = shares
    full = (size << np.uint32(32 - BITS)) - np.uint32(1)  # a frequency of TOTAL makes 2^32 - 1
    rest = np.uint32(TOTAL) - size
    low, over = np.empty(len(size), "<u2"), np.empty(len(size), bool)
    begin = steps[0][0]
    for here, there in reversed(steps):
        run = slice(here - begin, there - begin)
        lane = state[: there - here]
        low[run] = lane
        spills = np.greater(lane, full[run], out=over[run])
        np.right_shift(lane, U16, out=lane, where=spills)
        whole = lane // size[run]
        whole *= rest[run]
        lane += whole
        lane += start[run]
    return low[over].tobytes()


class Decoder:
    """Symbols read back, a run at a time. Raises ValueError where the words end early."""

    def __init__(self, payload: memoryview, lanes: int, models: Models) -> None:
        if len(payload) < 4 * lanes or len(payload) % 2:
            raise ValueError("its lanes end early")
        self._state = np.frombuffer(payload[: 4 * lanes], "<u4").astype(np.uint32)
        self._words = np.frombuffer(payload[4 * lanes :], "<u2")
        self._at = 0
        self._symbols, self._shares, self._offsets = models.slots
        self._one = _One(self._state, self._words, models) if lanes == 1 else None

    def run(self, count: int, contexts: Array | None) -> Array:
        """The next ``count`` symbols, as bytes. contexts: of each; None for the first one throughout."""
        if self._one:
            return self._one.run(count, contexts)
        lanes, state = len(self._state), self._state
        places = np.empty(count, np.uint32)
        base = None if contexts is None else contexts.astype(np.uint32) << np.uint32(BITS)
        for here in range(0, count, lanes):
            lane, place = state[: count - here], places[here : here + lanes]
            np.bitwise_and(lane, MASK, out=place)
            if base is not None:
                place |= base[here : here + lanes]
            lane >>= UBITS
            lane *= self._shares.take(place)
            lane += self._offsets.take(place)
            low = (lane < ULOW).nonzero()[0]
            words = self._words[self._at : self._at + len(low)]
            self._at += len(low)
            lane[low] = (lane.take(low) << U16) | words
        return self._symbols.take(places)

    def finish(self) -> None:
        """Raise ValueError unless all was read and every lane is where its writer started."""
        at, states = self._one.ends if self._one else (self._at, self._state)
        if at != len(self._words) or np.any(states != LOW):
            raise ValueError("its codes do not end where they should")


class _One:
    """The same with one lane."""

    def __init__(self, state: Array, words: Array, models: Models) -> None:
        self._state, self._words, self._at = int(state[0]), words.tolist(), 0
        self._slots = list(zip(*(part.tolist() for part in models.slots), strict=True))

    @property
    def ends(self) -> tuple[int, Array]:
        return self._at, np.array([self._state])

    def run(self, count: int, contexts: Array | None) -> Array:
        bases = repeat(0, count) if contexts is None else (contexts.astype(int) << BITS).tolist()
        state, words, slots, at = self._state, self._words, self._slots, self._at
        out = bytearray()
        for base in bases:
            symbol, share, offset = slots[state & 4095 | base]
            state = (state >> 12) * share + offset
            if state < 65536:
                state = state << 16 | words[at]
                at += 1
            out.append(symbol)
        self._state, self._at = state, at
        return np.frombuffer(out, np.uint8)


def _encode_one(cells: list[int], share: list[int], start: list[int]) -> bytes:
    state, words = LOW, []
    for cell in reversed(cells):
        size = share[cell]
        if state >= size << 32 - BITS:
            words.append(state & 0xFFFF)
            state >>= 16
        whole, left = divmod(state, size)
        state = (whole << BITS) + left + start[cell]
    return state.to_bytes(4, "little") + np.array(words[::-1], "<u2").tobytes()


def _batches(steps: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Steps of about BATCH symbols together, the last ones first."""
    while steps:
        start = max(0, steps[-1][1] - BATCH)
        many = sum(1 for here, _ in steps if here >= start) or 1
        yield steps[-many:]
        steps = steps[:-many]


def _steps(runs: list[int], lanes: int) -> list[tuple[int, int]]:
    """From where to where the lanes take a symbol each; fewer at the end of a run."""
    steps, start = [], 0
    for run in runs:
        steps += [(start + at, start + min(at + lanes, run)) for at in range(0, run, lanes)]
        start += run
    return steps
