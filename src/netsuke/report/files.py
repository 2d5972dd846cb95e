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
    path = folder / "report.json"
    texts = {
        folder / "report.html": html(record, str(path)),
        folder / "report.md": markdown(record, str(path)),
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


def _json(record: Mapping[str, Any], path: Path) -> str:
    try:
        return json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise NetsukeError(f"{path}: the record holds what JSON cannot: {error}") from error
