"""The report's three files."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from netsuke.core.errors import NetsukeError
from netsuke.core.files import beside
from netsuke.report.render import html, markdown


def write(record: Mapping[str, Any], folder: Path) -> tuple[Path, Path, Path]:
    """Write report.html, report.md and report.json in ``folder`` and return their paths.

    All three are made and written beside their places before the first is renamed, so an error
    leaves what was there. Raises NetsukeError naming the file that cannot be made or written.
    """
    path, explanation = folder / "report.json", _explanation(folder)
    texts = {
        folder / "report.html": html(record, str(path), explanation),
        folder / "report.md": markdown(record, str(path), explanation),
        path: _json(record, path),
    }
    try:
        with ExitStack() as stack:
            for target, text in texts.items():
                stack.enter_context(beside(target)).write_text(text, encoding="utf8")
    except OSError as error:
        raise NetsukeError(
            f"{folder}: the report cannot be written: {error.strerror or error}"
        ) from error
    return folder / "report.html", folder / "report.md", path


def _explanation(folder: Path) -> Mapping[str, Any] | None:
    """What ``netsuke explain`` left beside the report."""
    path = folder / "explanation.json"
    if not path.exists():
        return None
    try:
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf8"))
        return found
    except ValueError as error:
        raise NetsukeError(f"{path}: not valid JSON ({error}); explain the run again") from error


def _json(record: Mapping[str, Any], path: Path) -> str:
    try:
        return json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise NetsukeError(f"{path}: the record holds what JSON cannot: {error}") from error
