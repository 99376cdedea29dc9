"""Settings, glyphs and curves."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, strategies as st
from rich.segment import Segment
from textual.color import Color

from tui import glyphs, settings
from tui.glyphs import AsciiFilter, ascii_only, terminal_is_ascii
from tui.settings import Settings
from tui.theme import THEMES
from tui.widgets.chart import bounds, columns, curve

# ---------------------------------------------------------------- settings


def test_settings_come_back_as_they_were_saved(tmp_path: Path) -> None:
    file = tmp_path / "new" / "settings.toml"
    settings.save(file, Settings(theme="colour-blind", interval=2.5))
    assert settings.load(file) == Settings(theme="colour-blind", interval=2.5)
    assert file.stat().st_mode & 0o777 == 0o600


def test_damaged_settings_are_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    assert settings.load(file) == Settings()
    for text in ("theme = ", "theme = 3\ninterval = 'fast'", "\udcff", "interval = nan", "interval = true"):
        file.write_bytes(text.encode(errors="surrogateescape"))
        assert settings.load(file) == Settings()
    file.write_text("interval = 1e9")
    assert settings.load(file).interval == settings.SLOWEST


def test_the_place_follows_xdg() -> None:
    assert settings.path({"XDG_CONFIG_HOME": "/c"}) == Path("/c/steptop/settings.toml")
    assert settings.path({"HOME": "/h"}) == Path("/h/.config/steptop/settings.toml")


# ---------------------------------------------------------------- glyphs


@given(st.text())
def test_ascii_takes_one_character_for_one(text: str) -> None:
    assert ascii_only(text).isascii()
    assert len(ascii_only(text)) == len(text)


def test_everything_that_is_drawn_has_a_stand_in_of_its_own() -> None:
    drawn = (
        glyphs.BAR_FULL
        + glyphs.BAR_HALF
        + glyphs.BAR_EMPTY
        + glyphs.BLOCK
        + glyphs.SLIVER
        + glyphs.SPARKS
        + "●–±×↗↘→…·"
    )
    drawn += "".join(glyphs.RUN_SYMBOLS.values()) + "╭─╮│╰╯○"
    assert "?" not in ascii_only(drawn.replace("?", ""))
    stand_ins = [ascii_only(symbol) for symbol in glyphs.RUN_SYMBOLS.values()]
    assert len(set(stand_ins)) == len(stand_ins)
    assert len({ascii_only(c) for c in (glyphs.BAR_FULL, glyphs.BAR_EMPTY, glyphs.BAR_HALF)}) == 3
    assert [ascii_only(chr(0x2800 + dots)) for dots in (0, 0x01, 0x40, 0x41)] == [" ", "'", ".", ":"]


def test_wide_characters_keep_their_two_cells() -> None:
    (segment,) = AsciiFilter().apply([Segment("a日b")], Color(0, 0, 0))
    assert segment.text == "a??b"


def test_the_locale_says_whether_more_than_ascii_can_be_shown() -> None:
    assert not terminal_is_ascii({"LANG": "de_DE.UTF-8"})
    assert not terminal_is_ascii({"LC_ALL": "C.utf8"})
    assert not terminal_is_ascii({})
    assert terminal_is_ascii({"LC_ALL": "C", "LANG": "de_DE.UTF-8"})
    assert terminal_is_ascii({"LANG": "de_DE.ISO-8859-1", "LC_CTYPE": "C.UTF-8"})
    assert terminal_is_ascii({"TERM": "linux", "LANG": "de_DE.UTF-8"})


# ---------------------------------------------------------------- curves

points = st.lists(st.tuples(st.floats(1, 1e6), st.floats(-1e6, 1e6)), max_size=60).map(sorted)


@given(points, st.integers(1, 40), st.integers(1, 12), st.booleans())
def test_a_curve_fills_exactly_its_cells(drawn: list[tuple[float, float]], width: int, height: int, log: bool) -> None:
    values = columns(drawn, 2 * width, log)
    low, high = bounds([v for v in values if v is not None], log)
    rows = curve(values, height, low, high, log)
    assert len(rows) == height
    assert all(len(row) == width and all(0x2800 <= ord(cell) < 0x2900 for cell in row) for row in rows)


def test_a_falling_line_falls() -> None:
    rows = curve(columns([(0.0, 4.0), (3.0, 0.0)], 4), 1, 0.0, 4.0)
    assert rows == ["⠑⢄"]


def test_a_stall_does_not_flatten_the_rest() -> None:
    values = [1.0 + 0.3 * (i % 3) for i in range(100)] + [500.0]
    assert bounds(values, robust=True)[1] < 5


def test_a_steady_pace_is_drawn_steady() -> None:
    low, high = bounds([1.0, 1.01, 0.99], robust=True)
    assert high - low > 0.15


def test_an_empty_curve_has_a_range_all_the_same() -> None:
    assert bounds([]) == (0.0, 1.0)
    assert columns([], 4) == [None] * 4


# ---------------------------------------------------------------- themes


def luminance(colour: Color) -> float:
    def linear(part: float) -> float:
        return part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4

    r, g, b = (linear(part) for part in colour.normalized)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_every_role_can_be_read_on_its_ground() -> None:
    """WCAG contrast: 4.5 for what must be read, 3 for what is only there to be found."""
    for theme in THEMES.values():
        if theme.ansi:
            continue
        ground = luminance(Color.parse(theme.background or ""))
        for name in ("label", "number", "good", "warn", "bad", "faint"):
            ink = luminance(Color.parse(theme.variables[name]))
            contrast = (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05)
            assert contrast >= (3.0 if name == "faint" else 4.5), (theme.name, name, round(contrast, 2))
