"""Verbs that measure, judge, explain and show what was made."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from netsuke import store
from netsuke.cli.options import (
    EXIT,
    AsJson,
    Drop,
    Energy,
    Latency,
    Memory,
    RunFolder,
    Size,
    print_json,
    workload_of,
)
from netsuke.core.budget import Budget
from netsuke.core.errors import NetsukeError
from netsuke.core.evidence import Evidence
from netsuke.core.verdict import Verdict, combine
from netsuke.terminal import (
    Terminal,
    evidence_table,
    headline,
    parity_table,
    print_explanation,
    verdict_line,
)


def measure(
    what: Annotated[Path, typer.Argument(help="A run's folder, or an .onnx file.")],
    workload: Annotated[
        Path | None, typer.Option(help="Whose test data quality is measured on.")
    ] = None,
    on: Annotated[str, typer.Option(help="A paired device to measure on.")] = "local",
    layers: Annotated[
        bool, typer.Option("--layers", help="Compare a run's layers, simulated and executed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure a run's model (beside its original) or any .onnx file, here or on a paired device."""
    from netsuke import flow

    if layers:
        _measure_layers(what, workload, as_json)
        return

    terminal = Terminal(quiet=as_json)
    task = None if workload is None else workload_of(workload).task
    subject = what if what.suffix == ".onnx" else store.open_run(what)
    evidence = flow.measure(subject, task, terminal, on)
    _print_evidence(evidence, as_json)


def _measure_layers(folder: Path, workload: Path | None, as_json: bool) -> None:
    from netsuke.layerwise import by_layer

    run = store.open_run(folder)
    given = workload_of(workload or Path(run.record["workload"]))
    found = by_layer(run, run.record["model"] or given.model, given.task)
    if as_json:
        print_json([layer.to_dict() for layer in found])
    else:
        Terminal().out.print(parity_table(found))


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
        print_json({**verdict.to_dict(), "verdicts": [v.to_dict() for v in verdicts]})
    else:
        _print_verdicts(verdicts)
    raise typer.Exit(EXIT[verdict.outcome])


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
    task = workload_of(workload or Path(found.record["workload"])).task
    explanation = explained(found, task, terminal, tries)
    if as_json:
        print_json(explanation)
    else:
        print_explanation(terminal, explanation)
        terminal.out.print(f"  {found.folder / 'report.html'}")


def report(
    run: RunFolder,
    markdown: Annotated[bool, typer.Option(help="Print Markdown instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a run's report again (HTML, Markdown, JSON) and say where it is."""
    import netsuke.report

    found = store.open_run(run)
    if as_json:
        print_json(found.record)
    elif markdown:
        typer.echo(netsuke.report.markdown(found.record))
    else:
        netsuke.report.write(found.record, found.folder)
        Terminal().out.print(f"  {found.folder / 'report.html'}")


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
        print_json(rows)
        return
    out = Terminal().out
    if not rows:
        out.print(f"  no runs in {folder}; netsuke fit makes one")
    for row in rows:
        out.print(f"  {row['folder']:<24}{row['verdict']:<9}{escape(row['won'])}")


def _print_evidence(evidence: Iterable[Evidence], as_json: bool) -> None:
    if as_json:
        print_json([e.to_dict() for e in evidence])
    else:
        Terminal().out.print(evidence_table(evidence))


def _print_verdicts(verdicts: Iterable[Verdict]) -> None:
    out = Terminal().out
    for verdict in verdicts:
        out.print(f"  {verdict_line(verdict)}")
