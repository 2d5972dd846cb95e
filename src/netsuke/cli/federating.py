"""The verb that trains over several machines: ``federate``."""

from pathlib import Path
from typing import Annotated

import typer

from netsuke.cli.carving import command_typed
from netsuke.cli.options import AsJson, OnnxFile, Seed, Workload, print_json, workload_of
from netsuke.core.errors import NetsukeError
from netsuke.terminal import Terminal


def federate(
    workload: Workload,
    rounds: Annotated[int, typer.Option(help="In all, those of an interrupted call too.")] = 10,
    clients: Annotated[int, typer.Option(help="Started on this machine, each a process with data of its own.")] = 2,
    on: Annotated[
        str, typer.Option(help="Paired devices that are the clients instead, each on data of its own: pi1,pi2.")
    ] = "",
    host: Annotated[str, typer.Option(help="Where the server listens; for devices an address they reach.")] = "127.0.0.1",
    partition: Annotated[
        str, typer.Option(help="Whose training samples are whose: even, dirichlet:0.5 or owners.")
    ] = "even",
    strategy: Annotated[
        str, typer.Option(help="fedavg, fedprox, fedadam, fedmedian or trimmed.")
    ] = "fedavg",
    compress: Annotated[
        str, typer.Option(help="Of what goes up: full, int8, int4, int2, natural, ternary, sign, topk:0.01 or topk:0.03:natural.")
    ] = "full",
    prune: Annotated[
        float, typer.Option(help="Share of the network's time that leaves while it trains; 0 for none.")
    ] = 0.0,
    secure: Annotated[
        bool, typer.Option("--secure", help="The server learns the mean of what clients changed, and of none what it changed.")
    ] = False,
    noise: Annotated[
        float, typer.Option(help="Differential privacy: deviation of the noise, in clips; 0 for none.")
    ] = 0.0,
    clip: Annotated[float, typer.Option(help="Longest update, where there is noise.")] = 1.0,
    bits: Annotated[
        int, typer.Option(help="Weights are trained as integers of so many bits, and stored as such; 0 for floats.")
    ] = 0,
    soft: Annotated[
        float, typer.Option(help="Share of the loss that is to imitate the network as it came; 0 for none.")
    ] = 0.0,
    temperature: Annotated[float, typer.Option(help="At which it is imitated.")] = 4.0,
    epochs: Annotated[int, typer.Option(help="Of a client, in a round.")] = 1,
    lr: Annotated[float, typer.Option(help="Of the first round; it falls like a cosine.")] = 0.05,
    batch: Annotated[int, typer.Option(help="Samples a step.")] = 32,
    least: Annotated[int, typer.Option(help="Clients that a round needs.")] = 2,
    timeout: Annotated[float, typer.Option(help="Seconds for which as many are waited for.")] = 600.0,
    onnx: OnnxFile = None,
    out: Annotated[
        Path | None, typer.Option(help="The federation's folder [default: federations/NAME].")
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Train a network over clients that keep their samples, on Flower. The same command goes on after a kill."""
    try:
        from netsuke.federation.adaptive import Pruning
        from netsuke.federation.plan import Plan
        from netsuke.federation.strategies import Aggregation
        from netsuke.federation.verb import federate as train
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("flwr", "cryptography"):
            raise
        raise NetsukeError('federate: needs Flower: pip install "netsuke[fit,federate]"') from error
    from netsuke.record import Origin

    given, devices = workload_of(workload), tuple(filter(None, on.split(",")))
    terminal = Terminal(quiet=as_json)
    plan = Plan(
        out=out or Path("federations") / given.name, rounds=rounds, clients=len(devices) or clients, partition=partition, on=devices, host=host,
        aggregation=Aggregation(name=strategy, noise=noise, clip=clip), pruning=Pruning(ratio=prune), epochs=epochs, lr=lr, batch=batch,
        bits=bits, soft=soft, temperature=temperature,
        compress=compress, secure=secure, least=least, timeout=timeout, seed=seed, observer=terminal,
        origin=Origin(command=command_typed(), workload=str(given.path), model=str(onnx or "")),
    )  # fmt: skip
    found = train(onnx or given.model, given.task, plan)
    if as_json:
        print_json({**found.record, "run": found.run.record})
    else:
        terminal.out.print(f"  {found.told}")
        folder = found.run.folder
        terminal.out.print(f"  {folder / 'model.onnx'}   {folder / 'federation.html'}")
