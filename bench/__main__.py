"""``python -m bench AREA [--figure N] [--data DIR] [--quick]``."""

import argparse
import difflib
import importlib
import os
import sys
from pathlib import Path
from typing import NoReturn

from bench._harness import ROOT, USAGE, Bench, figures, run

EPILOG = """Prints a table and one line of JSON per figure; results go to bench/results/.
Exit code: 0 every figure holds, 1 one does not, 2 usage, 3 one is unknown (such as a rival
that cannot be installed), 4 skipped for want of data. With --quick nothing is judged."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, not the whole usage."""
        self.exit(USAGE, f"bench: {message}\n")


def areas() -> list[str]:
    """Every area: a file of this package whose name starts with no underscore."""
    return sorted(p.stem for p in Path(__file__).parent.glob("[!_]*.py"))


def main(arguments: list[str] | None = None) -> int:
    parser = _Parser(prog="python -m bench", description=__doc__, epilog=EPILOG,
                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("area", metavar="AREA", help=f"one of: {', '.join(areas())}")
    parser.add_argument("--figure", type=int, metavar="N", help="only this figure (default: all)")
    parser.add_argument("--data", type=Path, metavar="DIR", default=default_data(),
                        help="shared data (default: $NETSUKE_DATA, else ../shared/data)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="rehearse with few samples")
    given = parser.parse_args(arguments)
    if given.area not in areas():
        near = difflib.get_close_matches(given.area, areas(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(areas())}"
        parser.error(f"no area {given.area!r}; {hint}")
    known = figures(importlib.import_module(f"bench.{given.area}"))
    if given.figure is not None and given.figure not in known:
        parser.error(
            f"{given.area} has no figure {given.figure}; there are: {', '.join(map(str, known))}"
        )
    chosen = known if given.figure is None else {given.figure: known[given.figure]}
    return run(given.area, chosen, Bench(data=given.data, quick=given.quick))


def default_data() -> Path:
    return Path(os.environ.get("NETSUKE_DATA") or ROOT.parent / "shared" / "data")


if __name__ == "__main__":
    sys.exit(main())
