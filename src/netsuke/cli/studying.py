"""The verb that searches: ``study``."""

from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.markup import escape
from rich.table import Table

from netsuke.cli.carving import command_typed
from netsuke.cli.options import (
    EXIT,
    AsJson,
    Device,
    Drop,
    Energy,
    Latency,
    Memory,
    OnnxFile,
    OptionalWorkload,
    Seed,
    Size,
    budget_of,
    print_json,
    text_of,
    workload_of,
)
from netsuke.core.budget import Budget
from netsuke.core.errors import NetsukeError
from netsuke.core.quantity import show
from netsuke.report.studied import UNITS, passes_of
from netsuke.terminal import COLOURS, Terminal


def study(
    workload: OptionalWorkload = None,
    trials: Annotated[int, typer.Option(help="In all, those of an interrupted study too.")] = 50,
    hours: Annotated[
        float | None, typer.Option(min=0.0, help="No trial begins later than this.")
    ] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(help="What is to be small: size, stored, latency, memory, energy, drop; several [default: size, latency, drop]."),
    ] = None,
    space: Annotated[
        Path | None, typer.Option(help="A TOML file with [[slot]] tables [default: post-training].")
    ] = None,
    sampler: Annotated[str, typer.Option(help="thompson, tpe, nsga2, nsga3 or random.")] = "thompson",
    proxy: Annotated[
        str, typer.Option(help="Sorts networks drawn anew before they train: synflow, naswot, parameters.")
    ] = "",
    device: Device = None,
    size: Size = None,
    latency: Latency = None,
    memory: Memory = None,
    energy: Energy = None,
    drop: Drop = None,
    onnx: OnnxFile = None,
    cluster: Annotated[
        str, typer.Option(help="Try recipes on the machines of a Ray cluster: ray://HOST:PORT, HOST:PORT or auto.")
    ] = "",
    storage: Annotated[
        str, typer.Option(envvar="NETSUKE_STORAGE", show_envvar=True, help="Remember trials in a database: postgresql://USER:PASSWORD@HOST:PORT/DATABASE.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="The study's folder [default: studies/NAME].")
    ] = None,
    seed: Seed = 0,
    pareto: Annotated[
        Path | None, typer.Option(help="Choose from this study's front by the limits given, without new work.")
    ] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Search recipes, ratios, bits and widths together, within hard limits. The same command goes on after a kill."""
    terminal = Terminal(quiet=as_json)
    if pareto is not None:
        limits = Budget(size=size, latency_p95=latency, memory=memory, energy=energy, drop=drop)
        _pick(pareto, limits, terminal, as_json)
    if workload is None:
        raise NetsukeError("study: give a workload, e.g. netsuke study examples/digits.py")
    from netsuke.record import Origin
    from netsuke.study.outcome import read_study
    from netsuke.study.verb import POST_TRAINING, Plan
    from netsuke.study.verb import study as search

    given = workload_of(workload)
    folder = out or Path("studies") / given.name
    plan = Plan(
        out=folder, trials=trials, objectives=tuple(objective or Plan.objectives), sampler=sampler,
        space=POST_TRAINING if space is None else text_of(space), seed=seed,
        seconds=None if hours is None else 3600 * hours, observer=terminal, proxy=proxy,
        cluster=cluster, storage=storage,
        origin=Origin(command=command_typed(), workload=str(workload), model=str(onnx or "")),
    )  # fmt: skip
    where = device or given.device or "local"
    budget = budget_of(given, size, latency, memory, energy, drop)
    search(onnx or given.model, given.task, plan, device=where, budget=budget)
    found = read_study(folder)
    if as_json:
        print_json(found)
    else:
        terminal.out.print(_table(found["front"], found["objectives"], folder))
        terminal.out.print(f"  {folder / 'study.html'}")


def _pick(folder: Path, budget: Budget, terminal: Terminal, as_json: bool) -> NoReturn:
    from netsuke.study.outcome import pick, read_study

    found = read_study(folder)
    picked = pick(found, budget)
    if as_json:
        print_json(picked)
    else:
        terminal.out.print(_table(picked, found["objectives"], folder))
        terminal.out.print(f"  {folder / picked[0]['folder'] / 'model.onnx'}")
    raise typer.Exit(EXIT[picked[0]["verdict"]["outcome"]])


def _table(rows: list[dict[str, Any]], objectives: list[str], folder: Path) -> Table:
    """The front: what each trial came to on validation, and the verdict on the test data."""
    table = Table(box=None, pad_edge=True, header_style="bold")
    table.add_column("trial", justify="right")
    for name in objectives:
        table.add_column(name, justify="right")
    table.add_column("verdict")
    table.add_column("recipe")
    table.add_column("run")
    for row in rows:
        outcome = row["verdict"]["outcome"]
        table.add_row(
            str(row["number"]),
            *(show(row["values"][name], UNITS[name]) for name in objectives),
            f"[{COLOURS[outcome]}]{outcome}[/]",
            escape(passes_of(row["recipe"])),
            escape(str(folder / row["folder"])),
        )
    return table
