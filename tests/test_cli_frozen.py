"""The face of the command line. A change here breaks users' scripts: make it on purpose."""

import click
import typer

from netsuke.cli import app

FACE = {
    "inspect": ["model", "--device", "--json"],
    "advise": [
        "workload", "--device", "--size", "--latency", "--memory", "--energy", "--drop",
        "--application", "--hours", "--out", "--json",
    ],
    "fit": [
        "workload", "--device", "--size", "--latency", "--memory", "--energy", "--drop", "--recipe",
        "--onnx", "--out", "--seed", "--fresh", "--control", "--replay", "--json",
    ],
    "study": [
        "workload", "--trials", "--hours", "--objective", "--space", "--sampler", "--proxy", "--device", "--size",
        "--latency", "--memory", "--energy", "--drop", "--onnx", "--cluster", "--storage", "--out", "--seed", "--pareto", "--json",
    ],
    "federate": [
        "workload", "--rounds", "--clients", "--on", "--host", "--partition", "--strategy", "--compress", "--prune", "--secure", "--noise",
        "--clip", "--bits", "--soft", "--temperature", "--epochs", "--lr", "--batch", "--least", "--timeout", "--onnx", "--out",
        "--seed", "--json",
    ],
    "measure": ["what", "--workload", "--on", "--layers", "--json"],
    "judge": ["run", "--size", "--latency", "--memory", "--energy", "--drop", "--json"],
    "explain": ["run", "--workload", "--try", "--json"],
    "report": ["run", "--markdown", "--json"],
    "pack": ["model", "--out", "--since"],
    "unpack": ["stored", "--out", "--since"],
    "pair": ["name", "address", "code", "--forget"],
    "agent": ["--host", "--port", "--pair", "--state", "--federate", "--secure"],
    "serve": [
        "what", "--on", "--name", "--objective", "--memory", "--link", "--offline", "--exit", "--workload", "--watch", "--json",
    ],
    "unserve": ["name"],
    "gateway": ["names", "--host", "--port"],
    "list": ["folder", "--json"],
    "devices": ["--json"],
}  # fmt: skip


def test_verbs_and_options_are_these() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group) or hasattr(group, "commands")
    face = {
        name: [p.opts[0] for p in command.params if p.name != "help"]
        for name, command in group.commands.items()
    }
    assert face == FACE


def test_verbs_of_devices_are_these() -> None:
    group = typer.main.get_command(app).commands["devices"]  # type: ignore[attr-defined]
    face = {
        name: [p.opts[0] for p in command.params if p.name != "help"]
        for name, command in group.commands.items()
    }
    assert face == {
        "show": ["name", "--json"],
        "add": ["path", "--like"],
        "calibrate": ["name", "--json"],
    }
