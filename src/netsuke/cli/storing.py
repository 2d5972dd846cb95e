"""Verbs of the stored form."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from netsuke.core.errors import NetsukeError
from netsuke.core.quantity import show
from netsuke.terminal import Terminal


def pack(
    model: Annotated[Path, typer.Argument(help="An .onnx file.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The stored form [default: MODEL.nsk].")
    ] = None,
) -> None:
    """Store an .onnx file in the bits its values need, without loss, as an .nsk file."""
    from netsuke import packer

    target = beside(model, out, ".nsk")
    packer.pack(model, target)
    print_sizes(model, target)


def unpack(
    stored: Annotated[Path, typer.Argument(metavar="MODEL", help="An .nsk file.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The .onnx file [default: MODEL.onnx].")
    ] = None,
) -> None:
    """Expand a stored .nsk file to the .onnx file it was made of, to the byte. Needs no torch."""
    from netsuke import packer

    target = beside(stored, out, ".onnx")
    packer.unpack(stored, target)
    print_sizes(stored, target)


def beside(given: Path, out: Path | None, suffix: str) -> Path:
    """Where to write: as told, else beside what was given."""
    target = out or given.with_suffix(suffix)
    if target.resolve() == given.resolve():
        raise NetsukeError(f"{given}: would be overwritten; give another file with --out")
    return target


def print_sizes(before: Path, after: Path) -> None:
    sizes = [show(path.stat().st_size, "B") for path in (before, after)]
    Terminal().out.print(f"  {escape(str(after))}   {sizes[0]} → {sizes[1]}")
