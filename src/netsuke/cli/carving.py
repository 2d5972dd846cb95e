"""Verbs that look at a model, say what to do, and do it."""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from netsuke import store
from netsuke.cli.machines import bound_table, ceiling_table, need_table
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
    RecipeFile,
    Seed,
    Size,
    Workload,
    budget_of,
    print_json,
    recipe_of,
    workload_of,
)
from netsuke.core.errors import NetsukeError
from netsuke.core.files import write_text
from netsuke.core.layer import Layer
from netsuke.core.secrets import without_passwords
from netsuke.core.verdict import combine
from netsuke.terminal import Terminal, headline, layer_table, print_advice, verdict_line


def inspect(
    model: Annotated[Path, typer.Argument(help="A workload .py, or an .onnx file.")],
    device: Annotated[
        str | None,
        typer.Option(help="Also say what bounds each layer there, and what could be won."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a model's layers: parameters, activations, MACs, and bytes at each precision."""
    from netsuke import flow

    given = workload_of(model) if model.suffix != ".onnx" else None
    layers = flow.inspect(given.model, given.task) if given else flow.inspect(model)
    if device is not None:
        _inspect_on(layers, device, as_json)
    elif as_json:
        print_json([layer.to_dict() for layer in layers])
    else:
        Terminal().out.print(layer_table(layers))


def _inspect_on(layers: tuple[Layer, ...], name: str, as_json: bool) -> None:
    from netsuke.advisor.bounds import bounds, ceilings
    from netsuke.advisor.facts import as_int8
    from netsuke.advisor.readiness import readiness
    from netsuke.devices import device

    machine = device(name)
    found, most = bounds(layers, machine), ceilings(layers, machine)
    needs = {
        "as it is": readiness(layers, machine),
        "with weights and activations of 8 bits": readiness(tuple(map(as_int8, layers)), machine),
    }
    if as_json:
        print_json({
            "source": "estimated",
            "layers": [asdict(one) for one in found],
            "ceilings": [asdict(one) for one in most],
            "readiness": {when: [asdict(one) for one in each] for when, each in needs.items()},
        })  # fmt: skip
        return
    out = Terminal().out
    out.print(bound_table(found, machine))
    out.print(ceiling_table(most, machine))
    for when, each in needs.items():
        out.print(need_table(each, when))


def advise(
    workload: Workload,
    device: Device = None,
    size: Size = None,
    latency: Latency = None,
    memory: Memory = None,
    energy: Energy = None,
    drop: Drop = None,
    application: Annotated[
        str | None, typer.Option(help="What it is for: maintenance, vision, wearables or speech.")
    ] = None,
    hours: Annotated[
        float | None, typer.Option(min=0.0, help="How long the work may take.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the first recipe as TOML, for fit --recipe.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say which recipes to try for these limits, what each is expected to give and to cost, and why. Nothing is trained."""
    from netsuke import flow
    from netsuke.advisor.applications import Use
    from netsuke.advisor.applications import application as known

    given = workload_of(workload)
    budget = budget_of(given, size, latency, memory, energy, drop)
    use = Use(application=known(application) if application else None, hours=hours)
    terminal = Terminal(quiet=as_json)
    where = device or given.device or "local"
    advice = flow.advise(given.model, given.task, where, budget, use, terminal)
    if out is not None:
        write_text(out, advice.best.to_toml())
    if as_json:
        print_json(advice.to_dict())
    else:
        print_advice(terminal, advice)
        if out is not None:
            asked = {"device": device, "size": size, "latency": latency, "memory": memory,
                     "energy": energy, "drop": drop, "recipe": out}  # fmt: skip
            terminal.out.print(f"  {escape(f'{out}   {_fit_typed(workload, asked)}')}")


def _fit_typed(workload: Path, asked: Mapping[str, object]) -> str:
    """The command that fits with these options, those that were not given left out."""
    words = [f"--{name}={value}" for name, value in asked.items() if value is not None]
    return shlex.join(["netsuke", "fit", str(workload), *words])


def fit(
    workload: OptionalWorkload = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            help="A device's name or TOML file; several give an artifact for each [default: local]."
        ),
    ] = None,
    size: Size = None,
    latency: Latency = None,
    memory: Memory = None,
    energy: Energy = None,
    drop: Drop = None,
    recipe: RecipeFile = None,
    onnx: OnnxFile = None,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder [default: runs/NAME-n].")
    ] = None,
    seed: Seed = 0,
    fresh: Annotated[bool, typer.Option(help="Do not resume an interrupted run.")] = False,
    control: Annotated[
        bool, typer.Option(help="Also train the original as long, and compare with it.")
    ] = False,
    replay: Annotated[
        Path | None, typer.Option(help="Do this run again, with its choices.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Carve a model until it meets the limits on a device, and prove it. Exits 0 pass, 1 fail, 3 unknown."""
    from netsuke import flow
    from netsuke.nets.together import in_turn, launched
    from netsuke.record import Origin

    old = None if replay is None else store.open_run(replay)
    source = workload or (Path(old.record["workload"]) if old else None)
    if source is None:
        raise NetsukeError("fit: give a workload, e.g. netsuke fit examples/digits.py")
    with launched() as team:
        terminal = Terminal(quiet=as_json or not team.leads)
        given = in_turn(team, lambda: workload_of(source))
        model_file = onnx or (Path(old.record["model"]) if old and old.record["model"] else None)
        origin = Origin(command=command_typed(), workload=str(source), model=str(model_file or ""))
        options = flow.Options(
            name=given.name, out=out, seed=seed, fresh=fresh, control=control, observer=terminal,
            origin=origin, team=team,
        )  # fmt: skip
        model = model_file or given.model
        if old:
            runs: tuple[store.Run, ...] = (flow.replay(old, model, given.task, options),)
        else:
            runs = flow.fit_each(
                model, given.task, devices=device or [given.device or "local"],
                budget=budget_of(given, size, latency, memory, energy, drop),
                recipe=recipe_of(recipe or given.recipe), options=options,
            )  # fmt: skip
    if team.leads and as_json:
        records = [{"folder": str(run.folder), **run.record} for run in runs]
        print_json(records if len(runs) > 1 else records[0])
    elif team.leads:
        for run in runs:
            _print_run(terminal, run)
    raise typer.Exit(EXIT[combine(run.verdict for run in runs).outcome])


def _print_run(terminal: Terminal, run: store.Run) -> None:
    terminal.out.print(f"  {verdict_line(run.verdict)}\n  {headline(run.record)}")
    for found in run.record["next"]:
        terminal.out.print(f"  [yellow]next[/]  {escape(found['why'])}")
    terminal.out.print(f"  {run.folder / 'model.onnx'}   {run.folder / 'report.html'}")


def command_typed() -> str:
    """As it may be shown: without the passwords in addresses."""
    return without_passwords(shlex.join(["netsuke", *sys.argv[1:]]))
