"""The import rules of docs/architecture.md: down only, siblings apart, no torch on a device."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "netsuke"
# From the top of the picture to its bottom; a row may import the rows below it.
ROWS = (
    ("cli", "terminal", "__main__", "studio", "testing"),
    ("study", "federation", "watch"),
    (
        "flow",
        "gate",
        "clock",
        "journal",
        "workbench",
        "record",
        "intake",
        "training",
        "lesson",
        "sparsifier",
        "gradients",
        "workload",
        "layerwise",
        "control",
        "calibrate",
        "fitting",
        "explain",
        "serving",
    ),
    ("advisor", "report", "store", "agent", "gateway"),
    ("passes", "runtimes", "links", "probes", "checks", "devices", "families"),
    ("nets",),
    ("packer", "wire"),
    ("core",),
)
# The walk is told in several files, and the command line in two: these rows may import within.
TOLD_IN_PARTS = {0, 2}
RANK = {name: row for row, names in enumerate(ROWS) for name in names}
MODULES = sorted(p for p in SOURCE.rglob("*.py") if p != SOURCE / "__init__.py")


def place(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The parts of Netsuke that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "netsuke":
                names = [f"netsuke.{alias.name}" for alias in node.names]
        found |= {n.split(".")[1] for n in names if n.startswith("netsuke.")}
    return found - {"__version__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    home = place(path)
    assert home in RANK, f"{home} has no row in docs/architecture.md"
    for name in imported(path) - {home}:
        if RANK[home] in TOLD_IN_PARTS and RANK[name] == RANK[home]:
            continue
        assert RANK[name] > RANK[home], f"{path.name} imports {name}, which is not below {home}"


def test_the_rule_can_fail(tmp_path: Path) -> None:
    upward = tmp_path / "bad.py"
    upward.write_text("def f():\n    from netsuke.flow import fit\n")
    assert imported(upward) == {"flow"}


@pytest.mark.parametrize(
    "statement",
    [
        "import netsuke",
        "import netsuke.cli",
        "import netsuke.store",
        "import netsuke.report",
        "import netsuke.runtimes.onnxruntime",
        "import netsuke.agent.child",
        "import netsuke.agent.server",
        "import netsuke.agent.part",
        "import netsuke.links.remote",
        "import netsuke.packer",
        "import netsuke.devices",
        "from netsuke.core.registry import registered; from netsuke.core.probe import Probe; "
        "registered(Probe, 'netsuke.probes')",
        "from netsuke.core.registry import registered; from netsuke.core.check import Check; "
        "registered(Check, 'netsuke.checks')",
    ],
)
def test_what_a_device_imports_needs_no_torch(statement: str) -> None:
    code = f"import sys; {statement}; print(sorted(m for m in ('torch', 'onnx', 'jinja2') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_a_part_loads_no_more_than_it_needs() -> None:
    """An agent with a small network is to take 80 MB: each of these would be a megabyte or more of every part."""
    spared = (
        "asyncio",
        "decimal",
        "email",
        "logging",
        "numpy.random",
        "psutil",
        "subprocess",
        "tempfile",
        "zipfile",
    )
    code = f"import sys, netsuke.agent.part, netsuke.runtimes.onnxruntime; print([m for m in {spared} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_help_and_report_run_without_torch(tmp_path: Path) -> None:
    """With torch made unimportable, ``--help`` works and ``report`` gets as far as its argument."""
    (tmp_path / "torch.py").write_text("raise ImportError('torch was imported')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from netsuke.cli import main; main()"
    )
    helped = subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=False
    )
    assert (helped.returncode, helped.stderr) == (0, "")
    reported = subprocess.run(
        [sys.executable, "-c", code, "report", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert reported.returncode == 2
    assert "no such run folder" in reported.stderr
