"""Verbs for devices that are reached: the agent that runs on one, and getting to know it."""

import json
import os
import sys
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


def agent(
    host: Annotated[
        str, typer.Option(help="The address to listen at; 0.0.0.0 for all.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; it pairs at the one after it.")] = 5747,
    pair: Annotated[bool, typer.Option("--pair", help="Show a code for one more machine.")] = False,
    state: Annotated[
        Path | None,
        typer.Option(
            help="Where it keeps what it must not forget [default: ~/.local/state/netsuke]."
        ),
    ] = None,
) -> None:
    """Run on a device: receive models, measure them and serve them, for machines it was paired with."""
    told = {"host": host, "port": port, "pair": pair, "state": str(state or own_folder("state"))}
    command = [sys.executable, "-m", "netsuke.agent", json.dumps(told)]
    # In the place of this process, which has loaded what an agent does not need.
    os.execv(sys.executable, command)


def pair(
    name: Annotated[str, typer.Argument(help="What to call the device, e.g. kitchen-pi.")],
    address: Annotated[
        str | None, typer.Argument(help="HOST or HOST:PORT its agent shows.")
    ] = None,
    code: Annotated[str | None, typer.Argument(help="The code its agent shows.")] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Not to be reached any more.")] = False,
) -> None:
    """Get to know a device that runs netsuke agent, once; then --on NAME and --device NAME reach it."""
    from netsuke.devices import own_file
    from netsuke.links import book

    if forget:
        book.forget(name)
        own_file(name).unlink(missing_ok=True)
        typer.echo(f"  {name} is forgotten here; on it, delete its known/ file of this machine")
        return
    if address is None or code is None:
        raise NetsukeError(
            "pair: give the address and the code that netsuke agent shows on the device"
        )
    _meet(name, address, code)


def _meet(name: str, address: str, code: str) -> None:
    """Pair, and keep what the device says of itself as a device file."""
    from netsuke.cli.machines import device_table
    from netsuke.core.runtime import runtime_named
    from netsuke.devices import own_file
    from netsuke.devices.file import write_device
    from netsuke.links.pair import pair as paired
    from netsuke.links.remote import Remote

    paired(name, address, code)
    link = Remote(name, runtime_named("onnxruntime"))
    try:
        found = link.device()
    finally:
        link.close()
    write_device(found, own_file(name))
    out = Terminal().out
    out.print(device_table([found]))
    out.print(f"  netsuke measure RUN --on {name}, netsuke fit … --device {name}")


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
        typer.Option(help="Between each two: 10Mbit/20ms,… [default: measured from here]."),
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
    found = verb.serve(artifact, runtime, devices, how, terminal)
    if as_json:
        print_json(asdict(found))
        return
    terminal.out.print(part_table(found))
    terminal.out.print(f"  netsuke unserve {found.name} ends it")


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
