"""``python -m bench._readme``: the README's table of figures, from ``bench/results/``.

Only what was measured is in it; a figure without a result is named below the table.
"""

import importlib
import json
import re
import sys
from typing import Any

from bench._harness import ROOT, figures

README = ROOT / "README.md"
BETWEEN = re.compile(r"(<!-- figures -->\n).*?(<!-- /figures -->)", re.DOTALL)
WORDS = {True: "yes", False: "no", None: "unknown"}


def filled(text: str) -> str:
    """The README with its table made anew."""
    return BETWEEN.sub(lambda found: found[1] + tables() + "\n" + found[2], text)


def tables() -> str:
    """One table for each area that has results."""
    areas = sorted({path.name.rpartition("-")[0] for path in _results()})
    return "\n\n".join(_table(area) for area in areas)


def _results() -> list[Any]:
    return sorted((ROOT / "bench" / "results").glob("*-figure*.json"))


def _table(area: str) -> str:
    found = {}
    for path in _results():
        name, _, number = path.stem.rpartition("-figure")
        if name == area:
            found[int(number)] = json.loads(path.read_text("utf8"))
    rows = [f"| `{area}` | claim | measured | limit | holds |", "| --- | --- | --- | --- | --- |"]
    for number, result in sorted(found.items()):
        rows += [_row(f"{number}. {result['title']}", claim) for claim in result["claims"]]
    missing = sorted(set(figures(importlib.import_module(f"bench.{area}"))) - set(found))
    if missing:
        named = ", ".join(map(str, missing))
        rows += ["", f"Not measured yet: figure {named} (`python -m bench {area} --figure N`)."]
    return "\n".join(rows)


def _row(title: str, claim: dict[str, Any]) -> str:
    value = "unknown" if claim["value"] is None else _quantity(claim["value"], claim["unit"])
    limit = "" if claim["limit"] is None else _quantity(claim["limit"], claim["unit"])
    holds = WORDS[claim["holds"]] if claim["limit"] is not None else "reported"
    return f"| {title} | {claim['name']} | {value} | {claim['relation']} {limit} | {holds} |"


def _quantity(value: float, unit: str) -> str:
    return f"{value:.4g}{'×' if unit == 'x' else f' {unit}'.rstrip()}"


if __name__ == "__main__":
    README.write_text(filled(README.read_text("utf8")), "utf8")
    sys.exit()
