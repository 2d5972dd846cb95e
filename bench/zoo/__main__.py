"""``python -m bench.zoo [NAME …]``: the table of docs/zoo.md, or of the architectures so named."""

import sys
from collections import defaultdict

from bench.zoo import ENTRIES
from bench.zoo.figure import Row, measured


def main(words: list[str]) -> None:
    """Rows of Markdown."""
    chosen = [e for e in ENTRIES if not words or any(w.lower() in e.name.lower() for w in words)]
    print(
        "| architecture | parameters | leaves at 30 % | at 70 % | heads narrower | protected, and why |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for row in measured(chosen):
        print(line(row), flush=True)


def line(row: Row) -> str:
    """One architecture."""
    gone = [f"{1 - o.left:.0%}" for o in row.whole] or ["", ""]
    narrower = " / ".join(f"{1 - o.left:.0%}" for o in row.narrower) or "–"
    cells = (
        row.name,
        f"{row.parameters:,}",
        *gone,
        narrower,
        "; ".join((*row.problems, *_protected(row))),
    )
    return "| " + " | ".join(cells) + " |"


def _protected(row: Row) -> list[str]:
    """Reasons, without source lines, and the layers each is of."""
    why = defaultdict(list)
    for layer, reason in row.protected:
        why[reason.partition(" (")[0]].append(layer)
    return [f"`{'`, `'.join(layers)}`: {reason}" for reason, layers in why.items()]


if __name__ == "__main__":
    main(sys.argv[1:])
