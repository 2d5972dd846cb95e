"""A workload: a Python file with ``model()`` and ``task()``, or a goal in TOML that names one."""

import importlib.util
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from netsuke.core.budget import KINDS, Budget
from netsuke.core.errors import NetsukeError
from netsuke.core.task import Task


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What a workload file gives. device and budget: only where a goal file sets them."""

    name: str
    path: Path
    model: Any
    task: Task
    device: str | None = None
    budget: Budget = field(default_factory=Budget)
    recipe: Path | None = None


def read_workload(path: Path) -> Workload:
    """Run a workload file, or the one a goal file names.

    The file is the user's own code and is executed. Raises NetsukeError naming the file where it
    is missing, breaks, or lacks ``model()`` or ``task()``.
    """
    if path.suffix == ".toml":
        return _read_goal(path)
    if path.suffix != ".py":
        raise NetsukeError(
            f"{path}: a workload is a .py file with model() and task(), or a goal .toml"
        )
    module = _run(path)
    for wanted in ("model", "task"):
        if not callable(getattr(module, wanted, None)):
            raise NetsukeError(
                f"{path}: has no function {wanted}(); a workload defines model() and task()"
            )
    task = _call(module.task, path, "task")
    if not isinstance(task, Task):
        raise NetsukeError(f"{path}: task() returned {type(task).__name__}, not a netsuke.Task")
    return Workload(name=path.stem, path=path, model=_call(module.model, path, "model"), task=task)


def _read_goal(path: Path) -> Workload:
    """A goal file: ``workload = "digits.py"``, ``device``, ``recipe`` and a ``[budget]`` table."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf8"))
    except FileNotFoundError as error:
        raise NetsukeError(f"{path}: no such file") from error
    except tomllib.TOMLDecodeError as error:
        raise NetsukeError(f"{path}: not valid TOML: {error}") from error
    if "workload" not in data:
        raise NetsukeError(f'{path}: needs workload = "FILE.py"')
    unknown = set(data) - {"workload", "device", "recipe", "budget"}
    unknown |= {f"budget.{k}" for k in data.get("budget", {}) if k not in KINDS}
    if unknown:
        raise NetsukeError(f"{path}: unknown field {', '.join(sorted(unknown))}")
    inner = read_workload(path.parent / data["workload"])
    recipe = data.get("recipe")
    return Workload(
        name=path.stem, path=inner.path, model=inner.model, task=inner.task,
        device=data.get("device"), budget=Budget(**data.get("budget", {})),
        recipe=None if recipe is None else path.parent / recipe,
    )  # fmt: skip


def _run(path: Path) -> ModuleType:
    if not path.is_file():
        raise NetsukeError(f"{path}: no such file")
    spec = importlib.util.spec_from_file_location(f"netsuke_workload_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its neighbours are importable, as when Python runs the file itself.
    sys.path.insert(0, str(path.parent.resolve()))
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except NetsukeError:
        raise
    except Exception as error:
        raise NetsukeError(f"{path}: {_last_line(error, path)}") from error
    return module


def _call(function: Any, path: Path, name: str) -> Any:
    try:
        return function()
    except NetsukeError:
        raise
    except Exception as error:
        raise NetsukeError(f"{path}: {name}() failed: {_last_line(error, path)}") from error


def _last_line(error: Exception, path: Path) -> str:
    """The error in one line, with the user's own line where it can be told."""
    trace, line = error.__traceback__, None
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError):
        line = error.lineno
    first = str(error).strip().splitlines()[0] if str(error).strip() else ""
    return f"{'' if line is None else f'line {line}: '}{type(error).__name__}: {first}"
