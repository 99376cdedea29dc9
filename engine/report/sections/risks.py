"""What may go wrong, or has."""

from __future__ import annotations

from engine.report.facts import Facts
from engine.report.model import Item, Items, Section, paragraph
from engine.report.risks import risks


def section(facts: Facts) -> Section:
    found = risks(facts)
    if not found:
        return Section("risks", "Risks", (paragraph("Nothing that was measured points to one."),))
    items = tuple(Item(risk.pieces, severity=risk.severity) for risk in found)
    return Section("risks", "Risks", (Items(items),))
