"""Verbs of the stored form."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from netsuke.core.errors import NetsukeError
from netsuke.core.quantity import show
from netsuke.terminal import Terminal

Since = Annotated[
    Path | None,
    typer.Option("--since", help="An earlier version, .onnx, .nsk or a run: only what changed."),
]


def pack(
    model: Annotated[Path, typer.Argument(help="An .onnx file, or the folder of a run.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The stored form [default: MODEL.nsk; update.nsk]."),
    ] = None,
    since: Since = None,
) -> None:
    """Store an .onnx file in the bytes its values are worth, without loss, as an .nsk file; with
    --since, as an update of an earlier version."""
    from netsuke import packer

    source = packer.model_of(model)
    if source.suffix == ".nsk":
        raise NetsukeError(f"{source}: is a stored model already; give an .onnx file")
    update = source.with_name("update.nsk") if since and not out else out
    target = beside(source, update, ".nsk")
    packer.pack(source, target, since)
    print_sizes(source, target)


def unpack(
    stored: Annotated[Path, typer.Argument(metavar="MODEL", help="An .nsk file; - is a pipe.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The .onnx file [default: MODEL.onnx].")
    ] = None,
    since: Since = None,
) -> None:
    """Expand a stored .nsk file to the .onnx file it was made of, to the byte. Needs no torch."""
    from netsuke import packer

    if str(stored) == "-":
        target = out or Path("model.onnx")
        header = packer.unpack_stream(sys.stdin.buffer, target, since)
        Terminal().out.print(f"  {escape(str(target))}   {show(header.length, 'B')}")
        return
    target = beside(stored, out, ".onnx")
    packer.unpack(stored, target, since)
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
