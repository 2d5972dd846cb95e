"""The command line: parse, call, print. Nothing heavy is imported until a verb needs it."""

import sys
from typing import Annotated

import typer

from netsuke import __version__
from netsuke.cli.carving import advise, fit, inspect
from netsuke.cli.devices import devices
from netsuke.cli.evidence import explain, judge, list_runs, measure, report
from netsuke.cli.federating import federate
from netsuke.cli.linking import agent, pair
from netsuke.cli.serving import gateway, serve, unserve
from netsuke.cli.storing import pack, unpack
from netsuke.cli.studying import study
from netsuke.core.errors import NetsukeError

app = typer.Typer(
    name="netsuke",
    help="Carve a trained neural network until it fits a device, and prove that it still works.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
VERBS = (
    inspect,
    advise,
    fit,
    study,
    federate,
    measure,
    judge,
    explain,
    report,
    pack,
    unpack,
    pair,
    agent,
    serve,
    unserve,
    gateway,
)
for verb in VERBS:
    app.command()(verb)
app.command("list")(list_runs)
app.add_typer(devices, name="devices")


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


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
