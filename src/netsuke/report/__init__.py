"""The report: a run record → HTML, Markdown and JSON. Pure but for ``write``; never imports torch."""

from netsuke.report.files import write
from netsuke.report.record import read
from netsuke.report.render import html, markdown

__all__ = ["html", "markdown", "read", "write"]
