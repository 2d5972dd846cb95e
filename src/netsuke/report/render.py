"""The report as HTML and Markdown, from the templates beside this file."""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from netsuke.core.errors import NetsukeError
from netsuke.report.bits import chosen_bits
from netsuke.report.explained import explained
from netsuke.report.plot import labels, trade
from netsuke.report.record import parse
from netsuke.report.temperatures import temperatures
from netsuke.report.view import view

if TYPE_CHECKING:
    from jinja2 import Environment


def html(
    record: Mapping[str, Any],
    origin: str = "report.json",
    explanation: Mapping[str, Any] | None = None,
) -> str:
    """One HTML file that holds all it shows: styles and plot inside, no script, nothing fetched.

    record: the content of ``report.json``. origin: what errors call it. explanation: the content of
    ``explanation.json`` where a run was explained. Raises NetsukeError (one
    line) for a record that is broken or newer, and where jinja2 or matplotlib is not installed.
    """
    seen = view(parse(record, origin))
    env = environment(autoescape=True)
    drawn = len(seen.walk.placed) > 1
    plot = trade(seen.walk) if drawn else ""
    axes = labels(seen.walk, seen.metric) if drawn else None
    return env.get_template("report.html").render(
        view=seen,
        plot=plot,
        axes=axes,
        bits=chosen_bits(record, drawn=True),
        temperatures=temperatures(record, drawn=True),
        explained=explained(explanation),
    )


def markdown(
    record: Mapping[str, Any],
    origin: str = "report.json",
    explanation: Mapping[str, Any] | None = None,
) -> str:
    """The same report in Markdown, in tables. Raises as ``html`` does."""
    seen = view(parse(record, origin))
    env = environment(autoescape=False, finalize=_plain)
    env.filters["fenced"] = _fenced
    return env.get_template("report.md").render(
        view=seen,
        bits=chosen_bits(record, drawn=False),
        temperatures=temperatures(record, drawn=False),
        explained=explained(explanation),
    )


def environment(autoescape: bool, finalize: Callable[[Any], Any] | None = None) -> "Environment":
    """The templates beside this file. Raises NetsukeError where jinja2 is not installed."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise NetsukeError('report: jinja2 is missing; pip install "netsuke[fit]"') from error
    env = Environment(
        loader=PackageLoader("netsuke.report"),
        autoescape=autoescape,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    env.filters["tight"] = _tight
    return env


def _tight(text: str) -> str:
    """A figure is not parted from its unit at the end of a line. Not for code."""
    return re.sub(r"(?<=[\d…]) (?=(?:%|pt|[kMG]?B|[mµ]?[sJ])(?:\W|$))", "\N{NO-BREAK SPACE}", text)


def _plain(value: Any) -> Any:
    """Text in which no character means anything to Markdown or HTML; marked-up text as it is."""
    if hasattr(value, "__html__"):
        return value
    text = re.sub(r"\s+", " ", str(value)).replace("&", "&amp;").replace("<", "&lt;")
    text = re.sub(r"([\\`*_\[\]|#~$])", r"\\\1", text)
    return re.sub(r"^([-+]|\d+[.)])(?=\s)", r"\\\1", text)


def _fenced(code: str, language: str) -> Any:
    """A code block that the code itself cannot end."""
    from markupsafe import Markup

    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup(f"{fence}{language}\n{code}\n{fence}")
