"""What a step buys in the runtime it was measured in: bytes, time, both or neither."""

from netsuke.core.evidence import Evidence, find
from netsuke.report.text import UNKNOWN, Fact, fact, ratio

NOTICED = 1.01
"""A ratio below this buys nothing worth a name; a time must also be sure of it, where it has an
interval."""


def buys(before: tuple[Evidence, ...], after: tuple[Evidence, ...], runtime: str) -> str:
    """One line on a step, from the evidence of what it replaced and its own; empty without any.

    ``On onnxruntime this buys bytes and time: file 3.90× smaller, stored form 4.43× smaller, 2.10×
    faster``. Bytes that only the stored form saves are said to be so.
    """
    file, stored = (_shrunk(what, before, after) for what in ("size", "stored"))
    speed = find(after, "step_speedup")
    if not (file or stored or speed):
        return ""
    saved = "bytes" if file > NOTICED else "bytes in the stored form" if stored > NOTICED else ""
    figures = (
        f"file {_worded('size', before, after)}",
        f"stored form {_worded('stored', before, after)}",
        _timed(speed),
    )
    return f"On {runtime} this buys {_bought(saved, speed)}: {', '.join(figures)}"


def _bought(saved: str, speed: Evidence | None) -> str:
    if speed is None:
        return saved or "no bytes"
    if _is_faster(speed):
        return f"time and {saved}" if saved else "time only"
    return f"{saved} only" if saved else "neither bytes nor time"


def _timed(speed: Evidence | None) -> str:
    """Without its interval, which is among the step's figures."""
    found = fact(speed)
    return f"{found.text} {found.qualifier}".rstrip() if found.known else f"time {UNKNOWN}"


def _is_faster(speed: Evidence) -> bool:
    """Surely, where there is an interval; an estimate has none and is labelled as one."""
    sure = speed.low is None or speed.low > 1
    return sure and speed.value > NOTICED


def _shrunk(what: str, before: tuple[Evidence, ...], after: tuple[Evidence, ...]) -> float:
    """How many times smaller; 0 where it is not known."""
    old, new = find(before, what), find(after, what)
    return old.value / new.value if old and new and new.value > 0 else 0.0


def _worded(what: str, before: tuple[Evidence, ...], after: tuple[Evidence, ...]) -> str:
    found: Fact = ratio(what, find(before, what), find(after, what))
    return "as big" if found.text.startswith("1.00×") else found.text
