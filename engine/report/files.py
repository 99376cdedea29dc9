"""A report as text of some kind, and as a file: Markdown with its pictures beside it, or one page of HTML."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import msgspec

from engine.errors import UsageError
from engine.paths import write_atomic
from engine.report import render_html, render_markdown, svg
from engine.report.model import Plot, Report

MARKDOWN, HTML = (".md", ".markdown"), (".html", ".htm")


def as_json(report: Report) -> bytes:
    """One object on one line, documented in docs/report.md; a figure that is no number is null."""
    return msgspec.json.encode(report) + b"\n"


def checked(path: Path) -> Path:
    """`path` if a report can be written there; raises UsageError otherwise."""
    if path.suffix.lower() not in (*MARKDOWN, *HTML):
        raise UsageError(f"{path}: a report's file ends in .md (Markdown) or .html")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file in it, as {path / 'report.html'}")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} is no folder: make it first, or name a file in one that is there")
    return path


def write(report: Report, path: Path) -> tuple[Path, ...]:
    """Writes it; returns all files, the report first. Raises UsageError for a path where it cannot be."""
    checked(path)
    if path.suffix.lower() in HTML:
        made = [(path, render_html.render(report))]
    else:
        plots = [block for section in report.sections for block in section.blocks if isinstance(block, Plot)]
        pictures = {plot.id: path.with_name(f"{path.stem}-{plot.id}.svg") for plot in plots}
        text = render_markdown.render(report, {name: quote(file.name) for name, file in pictures.items()})
        made = [(path, text), *((pictures[plot.id], svg.svg(plot, style=True) + "\n") for plot in plots)]
    try:
        for file, text in reversed(made):
            write_atomic(file, text.encode("utf-8", errors="replace"))
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from None
    return tuple(file for file, _ in made)

