"""What every area shares: claims and figures, running them, the table, the JSON, the results.

An area is one file ``bench/AREA.py`` with functions ``figure_1(bench)``, ``figure_2(bench)``, ...,
found by name. Each returns a Figure; data or a rival that is not there is said, never guessed.
"""

import json
import operator
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from netsuke.core.errors import NetsukeError

ROOT = Path(__file__).resolve().parents[1]
RELATIONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "≤": operator.le, ">": operator.gt, "≥": operator.ge,
}  # fmt: skip
HOLDS, FAILS, USAGE, UNKNOWN, SKIPPED = 0, 1, 2, 3, 4
PACKAGES = ("netsuke", "numpy", "onnx", "onnxruntime", "scipy", "torch")


class MissingDataError(Exception):
    """A file the figure needs is not there; the message is one line."""


@dataclass(frozen=True)
class Claim:
    """One number against one limit. ``value`` None is unknown, and unknown never holds."""

    name: str
    value: float | None
    unit: str
    relation: str
    limit: float | None

    @property
    def holds(self) -> bool | None:
        if self.value is None or self.limit is None:
            return None
        return RELATIONS[self.relation](self.value, self.limit)


@dataclass(frozen=True)
class Figure:
    """What one figure found. The first claim is its headline; it holds where every claim does.

    samples: how many observations the headline rests on. details: anything JSON can hold.
    """

    title: str
    claims: tuple[Claim, ...]
    samples: int
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool | None:
        found = [claim.holds for claim in self.claims]
        return False if False in found else None if None in found or not found else True


@dataclass(frozen=True)
class Bench:
    """What a figure may use. data: the shared data. cache: kept between runs, safe to delete.

    quick: rehearse with few samples; nothing is judged and no result is written.
    """

    data: Path
    cache: Path = ROOT / ".cache" / "bench"
    results: Path = ROOT / "bench" / "results"
    quick: bool = False

    def file(self, name: str) -> Path:
        """A file of the data folder. Raises MissingDataError naming it and the mend."""
        path = self.data / name
        if not path.is_file():
            raise MissingDataError(f"no {path}; give --data DIR or set NETSUKE_DATA")
        return path

    def count(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def folder(self, name: str) -> Path:
        path = self.cache / name
        path.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True)
class Spent:
    """Seconds a block took, filled in when it ends."""

    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def wall(self) -> float:
        return self.seconds["wall"]

    def to_dict(self) -> dict[str, float]:
        return dict(self.seconds)


@contextmanager
def timed() -> Iterator[Spent]:
    """Wall and CPU seconds of a block, its finished child processes included."""
    spent, wall, before = Spent(), time.perf_counter(), os.times()
    yield spent
    after = os.times()
    spent.seconds["wall"] = time.perf_counter() - wall
    spent.seconds["cpu"] = sum(after[:4]) - sum(before[:4])


def say(line: str) -> None:
    """Progress, apart from the results."""
    print(line, file=sys.stderr, flush=True)


def figures(area: ModuleType) -> dict[int, Callable[[Bench], Figure]]:
    """The figures of an area by number."""
    found = {
        int(name.removeprefix("figure_")): function
        for name, function in vars(area).items()
        if name.startswith("figure_") and name.removeprefix("figure_").isdigit()
    }
    return dict(sorted(found.items()))


def run(name: str, chosen: Mapping[int, Callable[[Bench], Figure]], bench: Bench) -> int:
    """Run the figures, print each as a table and a line of JSON, write the results.

    The exit code: 1 where a figure does not hold, else 4 where one was skipped for want of data,
    else 3 where one is unknown, else 0. A rehearsal (quick) judges nothing.
    """
    codes = {_run_one(name, number, figure, bench) for number, figure in chosen.items()}
    return next((code for code in (FAILS, SKIPPED, UNKNOWN) if code in codes), HOLDS)


def _run_one(name: str, number: int, function: Callable[[Bench], Figure], bench: Bench) -> int:
    start = time.perf_counter()
    try:
        figure = function(bench)
    except MissingDataError as error:
        print(f"{name} figure {number}: skipped: {error}", flush=True)
        return SKIPPED
    except NetsukeError as error:
        print(f"{name} figure {number}: unknown: {error}", flush=True)
        return UNKNOWN
    line = as_line(name, number, figure, time.perf_counter() - start, bench.quick)
    print(table(name, number, figure, bench.quick))
    print(json.dumps(line, ensure_ascii=False), flush=True)
    if bench.quick:
        return HOLDS
    bench.results.mkdir(parents=True, exist_ok=True)
    path = bench.results / f"{name}-figure{number}.json"
    path.write_text(json.dumps({**line, **machine()}, indent=2, ensure_ascii=False) + "\n", "utf8")
    return {True: HOLDS, False: FAILS, None: UNKNOWN}[line["holds"]]


def as_line(area: str, number: int, figure: Figure, seconds: float, quick: bool) -> dict[str, Any]:
    """The figure as one flat JSON object."""
    head = figure.claims[0]
    return {
        "area": area,
        "figure": number,
        "title": figure.title,
        "value": head.value,
        "unit": head.unit,
        "limit": head.limit,
        "relation": head.relation,
        "holds": None if quick else figure.holds,
        "samples": figure.samples,
        "seconds": round(seconds, 1),
        "quick": quick,
        "claims": [
            {"name": c.name, "value": c.value, "unit": c.unit, "relation": c.relation, "limit": c.limit, "holds": c.holds}
            for c in figure.claims
        ],
        "details": dict(figure.details),
        "notes": list(figure.notes),
    }  # fmt: skip


def table(area: str, number: int, figure: Figure, quick: bool = False) -> str:
    """The claims of a figure as aligned text."""
    words = {True: "holds", False: "FAILS", None: "unknown"}
    rows = [
        (
            c.name,
            _number(c.value, c.unit),
            f"{c.relation} {_number(c.limit, c.unit)}",
            words[c.holds],
        )
        for c in figure.claims
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    head = f"\n{area} figure {number}: {figure.title}" + (
        " (quick: a rehearsal, not judged)" if quick else ""
    )
    lines = [
        "  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([head, *lines, *(f"  note: {note}" for note in figure.notes)])


def _number(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:,.4g} {unit}".strip()


def machine() -> dict[str, Any]:
    """Date, versions and machine, for the record."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in PACKAGES},
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "system": platform.platform(),
                    "load": [round(x, 2) for x in os.getloadavg()]},
    }  # fmt: skip


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [
            x.split(":", 1)[1].strip()
            for x in info.read_text().splitlines()
            if x.startswith("model name")
        ]
        if info.is_file()
        else []
    )
    return names[0] if names else platform.processor()
