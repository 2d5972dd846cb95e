"""What the verbs share: their options, and what is read from them."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from netsuke.core.budget import Budget
from netsuke.core.errors import NetsukeError

EXIT = {"pass": 0, "fail": 1, "unknown": 3}

Workload = Annotated[Path, typer.Argument(help="FILE.py with model() and task(), or a goal .toml.")]
OptionalWorkload = Annotated[
    Path | None, typer.Argument(help="FILE.py with model() and task(), or a goal .toml.")
]
Device = Annotated[str | None, typer.Option(help="A device's name or TOML file [default: local].")]
Size = Annotated[str | None, typer.Option(help="Most bytes on disk, e.g. 100KB.")]
Latency = Annotated[str | None, typer.Option(help="Longest call (p95), e.g. 5ms.")]
Memory = Annotated[
    str | None, typer.Option(help="Most memory of a process that runs it, e.g. 64MB.")
]
Energy = Annotated[str | None, typer.Option(help="Most energy an inference, e.g. 3mJ.")]
Drop = Annotated[str | None, typer.Option(help="Most quality lost, e.g. 1pt.")]
RecipeFile = Annotated[Path | None, typer.Option(help="A recipe .toml; else the advisor proposes.")]
OnnxFile = Annotated[Path | None, typer.Option(help="Take the model from this .onnx file instead.")]
Seed = Annotated[int, typer.Option(help="Of everything random.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
RunFolder = Annotated[Path, typer.Argument(help="A run's folder, e.g. runs/digits-1.")]


def workload_of(path: Path) -> Any:
    from netsuke.workload import read_workload

    return read_workload(path)


def recipe_of(path: Path | None) -> Any:
    if path is None:
        return None
    from netsuke.core.recipe import read_recipe

    return read_recipe(text_of(path), str(path))


def text_of(path: Path) -> str:
    """A file's text. Raises NetsukeError naming it where it is not there."""
    try:
        return path.read_text(encoding="utf8")
    except FileNotFoundError as error:
        raise NetsukeError(f"{path}: no such file") from error


def budget_of(given: Any, size: str | None, latency: str | None, memory: str | None,
            energy: str | None, drop: str | None) -> Budget:  # fmt: skip
    """The limits of the command line over those of the goal file."""
    options = {
        "size": size,
        "latency_p95": latency,
        "memory": memory,
        "energy": energy,
        "drop": drop,
    }
    own = asdict(given.budget)
    return Budget(**{**own, **{k: v for k, v in options.items() if v is not None}})


def print_json(data: Any) -> None:
    print(json.dumps(data, indent=1, ensure_ascii=False))
