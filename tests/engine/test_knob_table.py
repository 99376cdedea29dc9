"""The README's table of knobs follows from their declaration."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config import knob_table
from engine.config.profile import KNOBS

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_holds_the_table_of_knobs() -> None:
    text = README.read_text()
    assert text == knob_table.written(text), "run `make knobs`"


def test_every_knob_is_in_both_tables_with_range_and_kind() -> None:
    rows, lines = knob_table.markdown().splitlines(), "\n".join(knob_table.lines())
    assert len(rows) == len(KNOBS) + 2
    assert {row.count("|") for row in rows} == {7}
    for knob in KNOBS.values():
        assert any(f"`{knob.name}`" in row and knob.kind.value in row and knob.help in row for row in rows)
        assert knob.name in lines and knob.help in lines and knob.allowed in lines


def test_a_file_without_a_place_for_it_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "x.md"
    file.write_text("nothing")
    with pytest.raises(ValueError, match="no place"):
        knob_table.main([str(file)])
    assert file.read_text() == "nothing"
