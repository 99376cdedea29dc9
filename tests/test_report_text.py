"""Names, titles, exception texts and metric names are somebody else's words: no report takes them for anything more."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from markdown_it import MarkdownIt
from mdit_py_plugins.footnote import footnote_plugin

from engine.config.tables import Lock, Target
from engine.journals.events import (
    CheckpointWritten,
    ExperimentEnded,
    Gap,
    Metrics,
    Note,
    PrecisionActive,
    RunEnded,
    Verdict,
)
from engine.journals.journal import read, write_all
from engine.live.watch import Watch
from engine.paths import ExperimentPaths, write_json
from engine.report import files, render_html, render_markdown, svg
from engine.report.build import report_of
from engine.report.model import Basis, Plot, Report, Series
from tests.recordings import QUICKSTART, plan_for, prepared_for, write_recording

EVIL = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "](javascript:alert(1))",
    "[click](javascript:alert(1))",
    "![x](http://evil.example/pixel.png)",
    "http://evil.example/ www.evil.example evil@evil.example",
    "a | b || c",
    "`code` ``more`` ```fence",
    "**bold** _em_ ~~gone~~ $x^2$",
    "\x1b]52;c;ZXZpbA==\x07\x1b[2Jred",
    "line one\n# heading\n- item\n\n<table>",
    '" onmouseover="alert(1)" x="',
    "\u202ertl\u202c &lt;b&gt; &#60;",
    "[^1]: stolen",
    "1. list",
)
ALL = " ".join(EVIL)
TAGS = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "a", "sup", "div", "table", "thead", "tbody", "tr", "th",
    "td", "code", "pre", "ul", "ol", "li", "span", "figure", "figcaption", "svg", "text", "tspan", "line", "polyline", "polygon",
}  # fmt: skip


def write_hostile(folder: Path, evil: str) -> Path:
    """A finished recording in which everything that may hold untrusted words holds `evil`."""
    write_recording(folder, "quickstart", 1.0)
    paths, plan = ExperimentPaths(folder), plan_for(QUICKSTART, folder.name)
    change = msgspec.structs.replace
    experiment = change(
        plan.experiment, title=evil, locks={"batch_size": Lock(value=1, reason=evil)}, target=Target(dice=0.8, source=evil)
    )
    profile = change(plan.profile, name=evil, title=evil, basis=evil, scaled={"num_workers": evil})
    plan = change(
        plan, experiment=experiment, experiment_name=evil, profile=profile, overridden={"num_workers": evil},
        data_dir=evil, command=(evil,),
    )
    write_json(paths.plan, plan)
    write_json(paths.data, change(prepared_for(QUICKSTART), warnings=(evil,)))
    write_json(paths.manifest, {"host": evil, "versions": {evil: evil}, "command": [evil], "seeds": [evil], "python": evil})
    journal = paths.run(0, 0).segment(1)
    records = [change(one, device_name=evil) if i == 0 else one for i, one in enumerate(read(journal))]  # type: ignore[call-arg]
    last = records[-1]
    records[-1:] = [
        PrecisionActive(requested=evil, active=evil, evidence=evil, t=last.t, m=last.m),
        CheckpointWritten(file=evil, step=3, error=evil, t=last.t, m=last.m),
        Metrics(split="val", values={evil: 0.5, "x": 1.0}, step=1, t=last.t, m=last.m),
        Metrics(split="val", values={evil: 0.6, "x": 2.0}, step=9, t=last.t, m=last.m),
        Metrics(split="test", values={evil: 0.5, "dice": 0.7}, step=9, t=last.t, m=last.m),
        Gap(dropped=3, reason=evil, t=last.t, m=last.m),
        Note(text=evil, level="bad", t=last.t, m=last.m),
    ]
    journal.unlink()
    write_all(journal, records)
    verdict = Verdict(kind="crash", text=evil, evidence=(evil, evil), advice=evil, sure=False)
    events = [
        change(one, outcome="failed", verdict=verdict) if isinstance(one, RunEnded) and one.fold == 5 else one
        for one in read(paths.events)
    ]
    paths.events.unlink()
    write_all(paths.events, [*events, ExperimentEnded(outcome="failed", text=evil, verdict=verdict, t=last.t + 9, m=last.m + 9)])
    return folder


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = write_hostile(tmp_path_factory.mktemp("hostile") / "hostile", ALL)
    return report_of(Watch(folder).poll())


class Page(HTMLParser):
    """Tags, attributes and the text that is shown."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.shown: list[str] = []
        self.styles: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        (self.styles if self.tags and self.tags[-1][0] == "style" else self.shown).append(data)


def test_the_page_holds_nothing_but_its_own_markup(hostile: Report) -> None:
    page = Page(render_html.render(hostile))
    assert {tag for tag, _ in page.tags} <= TAGS
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "srcset", "action")]
        if "href" in attributes:
            target = attributes["href"] or ""
            assert tag == "a" and target.startswith("#") and target[1:] in ids
    shown = "".join(page.shown)
    assert "<script>alert(1)</script>" in shown, "it is shown, not obeyed"
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", shown)


def test_the_page_needs_no_network_and_no_script(hostile: Report) -> None:
    html = render_html.render(hostile)
    page = Page(html)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "img", "object", "form"})
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert "url(" not in "".join(page.styles) and "@import" not in "".join(page.styles)


def markdown(text: str) -> list[Any]:
    """As GitHub reads it: raw HTML on, addresses in plain text as links, tables and footnotes."""
    reader = MarkdownIt("gfm-like", {"html": True}).use(footnote_plugin)
    assert reader.linkify is not None
    reader.linkify.set({"fuzzy_link": False})  # a name with a dot is no address there
    return reader.parse(text)


def inner(tokens: list[Any]) -> list[Any]:
    return [child for token in tokens for child in (token, *(token.children or ()))]


def test_markdown_holds_no_markup_of_others(hostile: Report) -> None:
    tokens = inner(markdown(render_markdown.render(hostile)))
    kinds = {token.type for token in tokens}
    assert kinds.isdisjoint({"html_inline", "html_block", "image", "link_open", "fence", "code_block", "s_open", "hr"})
    plain = re.sub(r"(`+).+?\1", "", render_markdown.render(hostile))
    assert "www.evil" not in plain
    headings = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open"]
    assert headings[1:] == [section.title for section in hostile.sections] + ["Bases"]


def test_a_table_keeps_its_columns_whatever_its_cells_hold(hostile: Report) -> None:
    seen = sum(token.type == "tr_open" for token in markdown(render_markdown.render(hostile)))
    rows = sum(len(block.rows) + 1 for section in hostile.sections for block in section.blocks if hasattr(block, "rows"))
    assert seen == rows
    text = render_markdown.render(hostile)
    for table in re.findall(r"(?:^\|.*\|$\n)+", text, re.MULTILINE):
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in table.strip().splitlines()}
        assert len(counts) == 1, table


def test_every_footnote_is_there_and_used(hostile: Report) -> None:
    text = render_markdown.render(hostile)
    body, _, notes = text.partition("## Bases")
    used = {int(number) for number in re.findall(r"(?<!\\)\[\^(\d+)\]", body)}
    there = [int(number) for number in re.findall(r"^\[\^(\d+)\]: ", notes, re.MULTILINE)]
    assert there == sorted(there) == list(range(1, len(there) + 1))
    assert used == set(there)


@pytest.mark.parametrize("evil", EVIL)
def test_each_of_them_alone(evil: str, tmp_path: Path) -> None:
    assert markdown(f"{render_markdown.begun(render_markdown.text(evil))}\n")[1].type == "inline"
    shown = inner(markdown(f"x {render_markdown.text(evil)} {render_markdown.code(evil)}\n"))
    assert {token.type for token in shown} <= {"paragraph_open", "paragraph_close", "inline", "text", "code_inline", "softbreak", "text_special"}
    page = Page(f"<p>{render_html.text(evil)}</p>")
    assert [tag for tag, _ in page.tags] == ["p"]


def test_pictures_are_escaped_too() -> None:
    basis = Basis("measured", "measured: a test")
    series = (Series(name=ALL, points=((0.0, 1.0), (1.0, 2.0))), Series(name="b", points=((0.0, 2.0), (1.0, 1.0))))
    plot = Plot(id="x", title=ALL, x=ALL, y="s", series=series, basis=basis, marks=((0.5, ALL),))
    page = Page(svg.svg(plot, style=True))
    assert {tag for tag, _ in page.tags} <= {"svg", "style", "text", "tspan", "line", "polyline", "polygon"}
    assert not [name for _, a in page.tags for name in a if name.startswith("on")]


def test_a_markdown_file_has_its_pictures_beside_it(tmp_path: Path) -> None:
    write_recording(tmp_path / "quickstart", "quickstart", 1.0)
    report = report_of(Watch(tmp_path / "quickstart").poll())
    made = files.write(report, tmp_path / "my report.md")
    text = made[0].read_text()
    assert [path.name for path in made[1:]] == [
        "my report-step-time.svg", "my report-loss.svg", "my report-validation.svg", "my report-memory.svg"
    ]  # fmt: skip
    for picture in made[1:]:
        assert f"]({picture.name.replace(' ', '%20')})" in text
        assert picture.read_text().startswith("<svg") and "prefers-color-scheme" in picture.read_text()
    assert not list(tmp_path.glob("*.tmp.*"))
