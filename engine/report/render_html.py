"""A report as one HTML file: no script, no network, nothing of others' words taken for markup."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

from engine.report import svg
from engine.report.marked import INTRO, TICKS, bearing, numbered
from engine.report.model import (
    Basis,
    Block,
    Commands,
    Items,
    Missing,
    Name,
    Paragraph,
    Pieces,
    Plot,
    Report,
    Section,
    Table,
    Value,
)
from engine.report.numbers import moment
from engine.text import clean

Numbers = Mapping[Basis, int]

CSS = """\
:root{color-scheme:light dark;--paper:#fff;--ink:#1f2328;--faint:#59636e;--rule:#d0d7de;--link:#0550ae;--model:#8a4600;\
--bad:#b3261e;--warn:#8a5a00;--good:#116329;--chip:#f0f2f5}
@media (prefers-color-scheme:dark){:root{--paper:#0d1117;--ink:#e6edf3;--faint:#9198a1;--rule:#30363d;--link:#79b8ff;\
--model:#f0a35e;--bad:#ff8a80;--warn:#e3b341;--good:#56d364;--chip:#1b222c}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:62rem;padding:1.5rem 1rem 4rem;background:var(--paper);color:var(--ink);\
font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.7rem;margin:0}
h2{font-size:1.2rem;margin:2.2rem 0 .6rem;padding-top:.6rem;border-top:1px solid var(--rule)}
p{margin:.5rem 0}.sub,.intro{color:var(--faint)}.intro{font-size:.85rem}
#status td:first-child{white-space:nowrap}
.wide{overflow-x:auto}table{border-collapse:collapse;margin:.6rem 0;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.28rem .7rem .28rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--rule)}
th{color:var(--faint);font-weight:600;font-size:.85rem}
code{font:.88em ui-monospace,monospace;background:var(--chip);padding:.05em .3em;border-radius:3px;\
overflow-wrap:break-word}
pre{background:var(--chip);padding:.5rem .7rem;border-radius:4px;overflow-x:auto;margin:.6rem 0 .1rem}
pre code{background:none;padding:0}
a.v{color:inherit;text-decoration:none;border-bottom:1px dotted var(--faint)}a.modelled{border-bottom-style:dashed;\
border-color:var(--model)}a.quoted{border-bottom:1px double var(--link)}a.v:focus,a.v:hover{color:var(--link)}
sup{font-size:.68em;line-height:0;color:var(--faint);margin-left:.1em}
.gone{color:var(--faint)}
.chip{font-size:.78rem;font-weight:600;padding:.05rem .4rem;border-radius:3px;background:var(--chip);white-space:nowrap}
.failed,td.critical,.chip.critical,tr.critical td:first-child{color:var(--bad)}
td.warning,.chip.warning,tr.warning td:first-child{color:var(--warn)}
td.ok,.done{color:var(--good)}
tr.critical td:first-child,tr.warning td:first-child{font-weight:600}
td.critical,td.warning,td.ok,td.note,td.locked{font-weight:600}
ul{padding-left:1.2rem}ul.ticks{list-style:none;padding-left:0}ul.ticks li{padding-left:1.6rem;text-indent:-1.6rem}
ol.bases{font-size:.85rem;color:var(--faint)}ol.bases li:target{color:var(--ink);background:var(--chip)}
figure{margin:1rem 0}svg.plot{width:100%;height:auto}figcaption{font-size:.85rem;color:var(--faint)}
@media print{body{max-width:none;font-size:10pt}h2,figure,tr,li{break-inside:avoid}h2{break-after:avoid}\
.wide{overflow:visible}a.v{border:0}}
"""
BOXES = {"done": "☑", "failed": "☒", "open": "☐"}
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render(report: Report) -> str:
    """The whole page."""
    numbers = numbered(report)
    name = text(report.experiment)
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{name}: report</title>",
        f"<style>{CSS}{svg.STYLE}</style></head><body>",
        f"<h1>{name}</h1>",
        f'<p class="sub">{text(report.title)}</p>' if report.title else "",
        f'<p class="intro">Written {moment(report.written)}. {text(INTRO)}</p>',
        *(line for section in report.sections for line in _section(section, numbers)),
        '<h2 id="bases">Bases</h2><ol class="bases">',
        *(f'<li id="b{number}" value="{number}">{text(basis.text)}</li>' for basis, number in numbers.items()),
        "</ol></body></html>",
    ]
    return "\n".join(filter(None, parts)) + "\n"


def text(words: str) -> str:
    return escape(clean(words), quote=True)


def _section(section: Section, numbers: Numbers) -> Iterator[str]:
    yield f'<h2 id="{text(section.id)}">{text(section.title)}</h2>'
    for block in section.blocks:
        yield from _block(block, numbers)


def _block(block: Block, numbers: Numbers) -> Iterator[str]:
    match block:
        case Paragraph():
            yield f"<p>{_pieces(block.pieces, numbers, bearing([block.pieces]))}</p>"
        case Table():
            yield from _table(block, numbers)
        case Items():
            yield from _items(block, numbers)
        case Commands():
            for command in block.commands:
                why = _pieces(command.why, numbers, bearing([command.why]))
                yield f"<pre><code>{text(command.line)}</code></pre><p>{why}</p>"
        case Plot():
            number = numbers[block.basis]
            yield f"<figure>{svg.svg(block)}"
            yield f'<figcaption><a class="v" href="#b{number}">{text(block.basis.text)}</a></figcaption>'
            yield "</figure>"


def _items(block: Items, numbers: Numbers) -> Iterator[str]:
    ticked = any(one.tick != "none" for one in block.items)
    yield '<ul class="ticks">' if ticked else "<ul>"
    for one in block.items:
        said = _pieces(one.pieces, numbers, bearing([one.pieces]))
        if one.tick != "none":
            said = f'<span class="{one.tick}" title="{TICKS[one.tick]}">{BOXES[one.tick]}</span> {said}'
        if one.severity:
            said = f'<span class="chip {one.severity}">{one.severity}</span> {said}'
        yield f"<li>{said}</li>"
    yield "</ul>"


def _table(table: Table, numbers: Numbers) -> Iterator[str]:
    yield f'<div class="wide"><table id="{text(table.id)}"><thead><tr>'
    yield "".join(f"<th>{text(column)}</th>" for column in table.columns)
    yield "</tr></thead><tbody>"
    for one in table.rows:
        marked, at, cells = bearing(one.cells), 0, []
        for cell in one.cells:
            said = _pieces(cell, numbers, {place - at for place in marked})
            at += len(cell)
            grave = f' class="{one.severity}"' if one.severity and said == one.severity else ""
            cells.append(f"<td{grave}>{said}</td>")
        yield f'<tr class="{one.severity}">{"".join(cells)}</tr>' if one.severity else f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table></div>"


def _pieces(pieces: Pieces, numbers: Numbers, marked: set[int]) -> str:
    said = []
    for place, piece in enumerate(pieces):
        match piece:
            case Value():
                number = numbers[piece.basis]
                link = f'<a class="v {piece.basis.kind}" href="#b{number}">{text(piece.text)}</a>'
                said.append(link + (f"<sup>{number}</sup>" if place in marked else ""))
            case Missing():
                said.append(f'<span class="gone">– ({text(piece.reason)})</span>')
            case Name():
                said.append(f"<code>{text(piece.text)}</code>")
            case _:
                said.append(text(piece.text))
    return "".join(said)
