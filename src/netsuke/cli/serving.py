"""Verbs for a model that is spread over devices: served there, called over HTTP, and ended."""

import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netsuke import store
from netsuke.cli.options import AsJson, print_json, workload_of
from netsuke.core.errors import NetsukeError
from netsuke.core.files import own_folder
from netsuke.terminal import Terminal

if TYPE_CHECKING:
    from netsuke.serving import Exits
    from netsuke.serving.keeper import Keeper

LOOK = 3.0
"""Seconds between looks at how links and devices are."""


def serve(
    what: Annotated[Path, typer.Argument(help="A run's folder, or an .onnx file.")],
    on: Annotated[str, typer.Option(help="Paired devices, front to back: pi1,pi2,cloud.")],
    name: Annotated[
        str | None, typer.Option(help="To call it by [default: the run's name].")
    ] = None,
    objective: Annotated[str, typer.Option(help="throughput, or latency.")] = "throughput",
    memory: Annotated[
        str | None, typer.Option(help="Most a part's process may take, on each device: 128MB,1GB.")
    ] = None,
    link: Annotated[
        str | None,
        typer.Option(help="Between each two: 10Mbit/20ms,… [default: measured]."),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="The first answers by itself while the next is gone.")
    ] = False,
    exit_: Annotated[
        str | None,
        typer.Option(
            "--exit", help="The first answers what it is sure of; most lost by it, e.g. 1pt."
        ),
    ] = None,
    workload: Annotated[
        Path | None,
        typer.Option(help="Whose data --exit is fitted and judged on [default: the run's]."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Stay, and move parts as links and devices change.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Spread a model over paired devices, each with a part of it within its memory, and serve it there."""
    from netsuke import serving as verb
    from netsuke.cli.machines import part_table, routes_of
    from netsuke.core.runtime import runtime_named

    if objective not in ("throughput", "latency"):
        raise NetsukeError(f"--objective: {objective!r} is neither throughput nor latency")
    devices = [word.strip() for word in on.split(",")]
    exits = None if exit_ is None else _exits(exit_, what, workload)
    how = verb.Spread(
        name=name or what.stem.lower(), objective=objective, memory=_limits(memory, len(devices)),  # type: ignore[arg-type]
        routes=routes_of(link, len(devices)) if link else None, offline=offline, exits=exits,
    )  # fmt: skip
    terminal = Terminal(quiet=as_json)
    runtime = runtime_named("onnxruntime")
    artifact = runtime.adopt(what) if what.suffix == ".onnx" else store.open_run(what).artifact
    with verb.keeping(artifact, runtime, devices, how, terminal) as keeper:
        found = keeper.serving
        if as_json:
            print_json(asdict(found))
        else:
            terminal.out.print(part_table(found))
            terminal.out.print(f"  netsuke unserve {found.name} ends it")
        if watch:
            _stay(keeper, terminal)


def _stay(keeper: "Keeper", terminal: Terminal) -> None:
    """Until it is served no longer, or Ctrl-C."""
    terminal.out.print("  watching; Ctrl-C leaves it as it is then")
    with suppress(KeyboardInterrupt):
        while keeper.look():
            time.sleep(LOOK)
        terminal.out.print(f"  {keeper.serving.name} is served no longer")


def _limits(memory: str | None, devices: int) -> tuple[int, ...]:
    from netsuke.core.quantity import parse

    limits = (
        tuple(int(parse(word, "bytes", "--memory")) for word in memory.split(",")) if memory else ()
    )
    if limits and len(limits) != devices:
        raise NetsukeError(f"--memory: {len(limits)} limits for {devices} devices")
    return limits


def _exits(lost: str, what: Path, workload: Path | None) -> "Exits":
    """When the first device may answer by itself, by the data of a workload: fitted on what calibrates, judged on what
    validates."""
    from netsuke.core.quantity import parse
    from netsuke.core.task import ready
    from netsuke.serving import Exits

    given = workload or (
        None if what.suffix == ".onnx" else store.open_run(what).record["workload"]
    )
    if not given:
        raise NetsukeError("--exit: needs data; give --workload FILE.py")
    splits = ready(workload_of(Path(given)).task)
    return Exits(fit=splits.calibrate, judge=splits.validate, lost=parse(lost, "points", "--exit"))


def unserve(
    name: Annotated[str, typer.Argument(help="What it is served as.")],
) -> None:
    """End what netsuke serve began."""
    from netsuke import serving as verb
    from netsuke.core.runtime import runtime_named
    from netsuke.links.served import serving

    verb.stop(serving(name), runtime_named("onnxruntime"))
    typer.echo(f"  {name} is served no longer")


def gateway(
    names: Annotated[list[str], typer.Argument(help="What is served, by name.")],
    host: Annotated[
        str, typer.Option(help="The address to listen at; 0.0.0.0 for all.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port.")] = 8000,
) -> None:
    """Answer HTTP calls (Open Inference Protocol, KServe v2) for what netsuke serve spread over devices."""
    import uvicorn

    from netsuke.gateway.app import app, token_of
    from netsuke.links.served import serving

    served = {name: serving(name) for name in names}
    path = own_folder("state") / "gateway.token"
    out = Terminal().out
    made = app(served, token_of(path))
    out.print(
        f"  http://{host}:{port}/v2/models/{names[0]}   the token is in {path}", soft_wrap=True
    )
    uvicorn.run(made, host=host, port=port, log_level="warning")
