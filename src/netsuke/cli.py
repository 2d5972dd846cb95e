"""The command line: parse, call, print. Nothing heavy is imported until a verb needs it."""

import json
import shlex
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from netsuke import __version__, store
from netsuke.core.budget import Budget
from netsuke.core.errors import NetsukeError
from netsuke.core.evidence import Evidence
from netsuke.core.quantity import show
from netsuke.core.verdict import Verdict, combine
from netsuke.terminal import (
    Terminal,
    evidence_table,
    headline,
    layer_table,
    parity_table,
    print_explanation,
    verdict_line,
)

EXIT = {"pass": 0, "fail": 1, "unknown": 3}

app = typer.Typer(
    name="netsuke",
    help="Carve a trained neural network until it fits a device, and prove that it still works.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Workload = Annotated[Path, typer.Argument(help="FILE.py with model() and task(), or a goal .toml.")]
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
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
RunFolder = Annotated[Path, typer.Argument(help="A run's folder, e.g. runs/digits-1.")]


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def inspect(
    model: Annotated[Path, typer.Argument(help="A workload .py, or an .onnx file.")],
    as_json: AsJson = False,
) -> None:
    """Show a model's layers: parameters, activations, MACs, and bytes at each precision."""
    from netsuke import flow

    given = _workload(model) if model.suffix != ".onnx" else None
    layers = flow.inspect(given.model, given.task) if given else flow.inspect(model)
    if as_json:
        _json([layer.to_dict() for layer in layers])
    else:
        Terminal().out.print(layer_table(layers))


@app.command()
def advise(
    workload: Workload,
    device: Device = None,
    size: Size = None,
    latency: Latency = None,
    memory: Memory = None,
    energy: Energy = None,
    drop: Drop = None,
    as_json: AsJson = False,
) -> None:
    """Say which recipes to try for these limits, and why. Nothing is trained or measured."""
    from netsuke import flow

    given = _workload(workload)
    budget = _budget(given, size, latency, memory, energy, drop)
    advice = flow.advise(given.model, given.task, device or given.device or "local", budget)
    if as_json:
        _json(advice.to_dict())
        return
    out = Terminal().out
    for reason in advice.reasons:
        out.print(f"  {escape(reason)}")
    for number, proposal in enumerate(advice.proposals, 1):
        out.print(f"  {number}. {escape(str(proposal))}")
    for reason in advice.ruled_out:
        out.print(f"  [dim]ruled out: {escape(reason)}[/dim]")


@app.command()
def fit(
    workload: Annotated[
        Path | None, typer.Argument(help="FILE.py with model() and task(), or a goal .toml.")
    ] = None,
    device: Device = None,
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
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    fresh: Annotated[bool, typer.Option(help="Do not resume an interrupted run.")] = False,
    replay: Annotated[
        Path | None, typer.Option(help="Do this run again, with its choices.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Carve a model until it meets the limits on a device, and prove it. Exits 0 pass, 1 fail, 3 unknown."""
    from netsuke import flow
    from netsuke.record import Origin

    terminal = Terminal(quiet=as_json)
    old = None if replay is None else store.open_run(replay)
    source = workload or (Path(old.record["workload"]) if old else None)
    if source is None:
        raise NetsukeError("fit: give a workload, e.g. netsuke fit examples/digits.py")
    given = _workload(source)
    model_file = onnx or (Path(old.record["model"]) if old and old.record["model"] else None)
    origin = Origin(command=_command(), workload=str(source), model=str(model_file or ""))
    options = flow.Options(
        name=given.name, out=out, seed=seed, fresh=fresh, observer=terminal, origin=origin
    )
    model = model_file or given.model
    if old:
        run = flow.replay(old, model, given.task, options)
    else:
        budget = _budget(given, size, latency, memory, energy, drop)
        run = flow.fit(
            model, given.task, device=device or given.device or "local", budget=budget,
            recipe=_recipe(recipe or given.recipe), options=options,
        )  # fmt: skip
    if as_json:
        _json({"folder": str(run.folder), **run.record})
    else:
        terminal.out.print(f"  {verdict_line(run.verdict)}\n  {headline(run.record)}")
        terminal.out.print(f"  {run.folder / 'model.onnx'}   {run.folder / 'report.html'}")
    raise typer.Exit(EXIT[run.verdict.outcome])


@app.command()
def measure(
    what: Annotated[Path, typer.Argument(help="A run's folder, or an .onnx file.")],
    workload: Annotated[
        Path | None, typer.Option(help="Whose test data quality is measured on.")
    ] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Compare a run's layers, simulated and executed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure a run's model (beside its original) or any .onnx file, here and now."""
    from netsuke import flow

    if layers:
        _measure_layers(what, workload, as_json)
        return

    terminal = Terminal(quiet=as_json)
    task = None if workload is None else _workload(workload).task
    subject = what if what.suffix == ".onnx" else store.open_run(what)
    evidence = flow.measure(subject, task, terminal)
    _print_evidence(evidence, as_json)


def _measure_layers(folder: Path, workload: Path | None, as_json: bool) -> None:
    from netsuke.layerwise import by_layer

    run = store.open_run(folder)
    given = _workload(workload or Path(run.record["workload"]))
    found = by_layer(run, run.record["model"] or given.model, given.task)
    if as_json:
        _json([layer.to_dict() for layer in found])
    else:
        Terminal().out.print(parity_table(found))


@app.command()
def judge(
    run: RunFolder,
    size: Size = None,
    latency: Latency = None,
    memory: Memory = None,
    energy: Energy = None,
    drop: Drop = None,
    as_json: AsJson = False,
) -> None:
    """Judge a run's evidence against its limits, or others. Exits 0 pass, 1 fail, 3 unknown."""
    from netsuke import flow

    found = store.open_run(run)
    other = Budget(size=size, latency_p95=latency, memory=memory, energy=energy, drop=drop)
    budget = other if other.limits() else Budget(**found.record["budget"])
    verdicts = flow.judge(found.evidence, budget, found.record["device"]["name"])
    verdict = combine(verdicts)
    if as_json:
        _json({**verdict.to_dict(), "verdicts": [v.to_dict() for v in verdicts]})
    else:
        _print_verdicts(verdicts)
    raise typer.Exit(EXIT[verdict.outcome])


@app.command()
def explain(
    run: RunFolder,
    workload: Annotated[
        Path | None, typer.Option(help="Whose data to use [default: the run's own].")
    ] = None,
    tries: Annotated[
        bool, typer.Option("--try", help="Apply the remedies and measure what they give back.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say which layers lose quality under quantization, why, and what mends it."""
    from netsuke.explain import explain as explained

    found = store.open_run(run)
    if workload is None and not found.record["workload"]:
        raise NetsukeError(f"explain: {run} names no workload; give --workload FILE.py")
    terminal = Terminal(quiet=as_json)
    task = _workload(workload or Path(found.record["workload"])).task
    explanation = explained(found, task, terminal, tries)
    if as_json:
        _json(explanation)
    else:
        print_explanation(terminal, explanation)
        terminal.out.print(f"  {found.folder / 'report.html'}")


@app.command()
def report(
    run: RunFolder,
    markdown: Annotated[bool, typer.Option(help="Print Markdown instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a run's report again (HTML, Markdown, JSON) and say where it is."""
    import netsuke.report

    found = store.open_run(run)
    if as_json:
        _json(found.record)
    elif markdown:
        typer.echo(netsuke.report.markdown(found.record))
    else:
        netsuke.report.write(found.record, found.folder)
        Terminal().out.print(f"  {found.folder / 'report.html'}")


@app.command()
def pack(
    model: Annotated[Path, typer.Argument(help="An .onnx file.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The stored form [default: MODEL.nsk].")
    ] = None,
) -> None:
    """Store an .onnx file in the bits its values need, without loss, as an .nsk file."""
    from netsuke import packer

    target = _other(model, out, ".nsk")
    packer.pack(model, target)
    _print_sizes(model, target)


@app.command()
def unpack(
    stored: Annotated[Path, typer.Argument(metavar="MODEL", help="An .nsk file.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The .onnx file [default: MODEL.onnx].")
    ] = None,
) -> None:
    """Expand a stored .nsk file to the .onnx file it was made of, to the byte. Needs no torch."""
    from netsuke import packer

    target = _other(stored, out, ".onnx")
    packer.unpack(stored, target)
    _print_sizes(stored, target)


@app.command("list")
def list_runs(
    folder: Annotated[Path, typer.Argument(help="Where the runs are.")] = store.ROOT,
    as_json: AsJson = False,
) -> None:
    """List the runs in a folder, with their verdicts."""
    rows: list[dict[str, Any]] = []
    for path in store.runs(folder):
        try:
            record = store.open_run(path).record
            rows.append(
                {
                    "folder": str(path),
                    "verdict": record["verdict"]["outcome"],
                    "won": headline(record),
                }
            )
        except NetsukeError as error:
            rows.append({"folder": str(path), "verdict": "–", "won": str(error)})
    if as_json:
        _json(rows)
        return
    out = Terminal().out
    if not rows:
        out.print(f"  no runs in {folder}; netsuke fit makes one")
    for row in rows:
        out.print(f"  {row['folder']:<24}{row['verdict']:<9}{escape(row['won'])}")


def main() -> None:
    """The entry point: a user's mistake is one line on the error stream and exit code 2."""
    try:
        app()
    except NetsukeError as error:
        _fail(str(error), 2)
    except KeyboardInterrupt:
        _fail("interrupted; accepted steps are kept, the same command goes on from there", 130)
    except ModuleNotFoundError as error:
        _fail(f'{error.name} is not installed: pip install "netsuke[fit]"', 2)
    except OSError as error:
        _fail(f"{error.filename or 'disk'}: {error.strerror or error}; nothing is half-written", 2)


def _fail(text: str, code: int) -> None:
    print(f"netsuke: {' '.join(text.split())}", file=sys.stderr)
    sys.exit(code)


def _workload(path: Path) -> Any:
    from netsuke.workload import read_workload

    return read_workload(path)


def _recipe(path: Path | None) -> Any:
    if path is None:
        return None
    from netsuke.core.recipe import read_recipe

    try:
        return read_recipe(path.read_text(encoding="utf8"), str(path))
    except FileNotFoundError as error:
        raise NetsukeError(f"{path}: no such file") from error


def _budget(given: Any, size: str | None, latency: str | None, memory: str | None,
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


def _other(given: Path, out: Path | None, suffix: str) -> Path:
    """Where to write: as told, else beside what was given."""
    target = out or given.with_suffix(suffix)
    if target.resolve() == given.resolve():
        raise NetsukeError(f"{given}: would be overwritten; give another file with --out")
    return target


def _print_sizes(before: Path, after: Path) -> None:
    sizes = [show(path.stat().st_size, "B") for path in (before, after)]
    Terminal().out.print(f"  {escape(str(after))}   {sizes[0]} → {sizes[1]}")


def _command() -> str:
    return shlex.join(["netsuke", *sys.argv[1:]])


def _print_evidence(evidence: Iterable[Evidence], as_json: bool) -> None:
    if as_json:
        _json([e.to_dict() for e in evidence])
    else:
        Terminal().out.print(evidence_table(evidence))


def _print_verdicts(verdicts: Iterable[Verdict]) -> None:
    out = Terminal().out
    for verdict in verdicts:
        out.print(f"  {verdict_line(verdict)}")


def _json(data: Any) -> None:
    print(json.dumps(data, indent=1, ensure_ascii=False))
