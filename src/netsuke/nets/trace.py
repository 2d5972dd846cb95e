"""torch.export, and what it says when it cannot: one line with the user's source line."""

import contextlib
import io
import logging
import sysconfig
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from netsuke.core.errors import NetsukeError
from netsuke.nets.graph import TORCH, op, source

SIZED = ("view", "reshape", "expand", "unflatten", "repeat", "zeros", "ones", "full")


def trace(module: nn.Module, inputs: tuple[Tensor, ...], name: str) -> fx.GraphModule:
    """Trace ``module`` in the mode it is in, every input's first dimension free.

    Raises NetsukeError where it does not trace or fixes the batch.
    """
    try:
        return _export(module, inputs, torch.export.Dim.DYNAMIC)
    except GuardOnDataDependentSymNode as error:
        raise NetsukeError(
            f"{name}: does not trace: what is computed depends on the data's values{line_of(error)}; "
            "use torch.where in place of `if` and `.item()`"
        ) from error
    except Exception as error:
        if "specialized it to be a constant" in str(error) or "was inferred to be" in str(error):
            raise NetsukeError(
                f"{name}: fixes the batch size{_fixed_at(module, inputs)}; "
                "write sizes with x.shape[0], as in x.view(x.shape[0], -1)"
            ) from error
        raise NetsukeError(
            f"{name}: does not trace: {first_line(error)}{line_of(error)}"
        ) from error


def _export(module: nn.Module, inputs: tuple[Tensor, ...], batch: Any) -> fx.GraphModule:
    with _quiet():
        program = torch.export.export(
            module, inputs, dynamic_shapes=tuple({0: batch} for _ in inputs), strict=False
        )
        return program.module(check_guards=False)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch prints while tracing (whole graphs, on an error) off the user's screen."""
    log = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    was, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = was


def _fixed_at(module: nn.Module, inputs: tuple[Tensor, ...]) -> str:
    """Where the batch is written as a number; torch says only that it is.

    Traced with leave to fix the batch, sizes taken from a shape stay nodes and numbers do not.
    """
    try:
        graph = _export(module, inputs, torch.export.Dim.AUTO).graph
    except Exception:
        return ""  # this was only to better a message
    for node in graph.nodes:
        sizes = [
            a for a in node.args if isinstance(a, list | tuple) and a and a[0] == len(inputs[0])
        ]
        if op(node) in SIZED and sizes and (line := source(node)):
            return f" at {line}"
    return ""


def first_line(error: BaseException) -> str:
    """What an exception says first, without a full stop."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__


def line_of(error: BaseException) -> str:
    """`` at net.py:31 (`if x.sum() > 0:`)``: the last of the user's lines on the way to the error."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not _ours(frame.filename):
            return f" at {Path(frame.filename).name}:{frame.lineno} (`{frame.line}`)"
    return ""


def _ours(file: str) -> bool:
    """Whether this file is torch's, Python's or our own rather than the user's."""
    own = (TORCH, str(Path(__file__).parent), "<")
    standard = file.startswith(sysconfig.get_path("stdlib")) and "site-packages" not in file
    return file.startswith(own) or standard
