"""Untrusted text: whatever was in it, a terminal only shows it."""

from __future__ import annotations

import unicodedata

from hypothesis import example, given, strategies as st

from engine.text import MAX_CHARACTERS, clean

HOSTILE = (
    "\x1b]0;PWNED-TITLE\x07",
    "\x1b]52;c;Y3VybCBldmlsfHNo\x07",
    "\x1b[2J\x1b[H",
    "\x1bP+q544e\x1b\\",
    "\x1b_Ga=T\x1b\\",
    "\x9b31m",
    "\x9d0;title\x9c",
    "a\u202eb",
    "\x7f",
    "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\",
    "\x1b[?1049l",
    "\x1bc",
    "\x0e\x0f",
    "\ud800",
)
pieces = st.lists(
    st.one_of(
        st.sampled_from(HOSTILE), st.text(max_size=8), st.sampled_from(["\x1b", "\x9b", "[", "]", "\r", "\n", "\t"])
    ),
    max_size=12,
)


@given(pieces.map("".join))
@example("\x1b\x1b[31m[2J")
@example("\x1b]0;never ended")
def test_nothing_a_terminal_would_obey_survives(text: str) -> None:
    shown = clean(text)
    for character in shown:
        assert unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"), repr(shown)
    assert len(shown) <= MAX_CHARACTERS
    shown.encode()


@given(st.text())
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    assert clean(clean(text)) == clean(text)


def test_the_words_around_a_sequence_stay() -> None:
    assert clean("step \x1b[1;31m87\x1b[0m done") == "step 87 done"
    assert clean("before\x1b]52;c;QQ==\x07after") == "beforeafter"
    assert clean("a\tb") == "a   b"


def test_a_progress_bar_shows_its_last_frame() -> None:
    assert clean("10%\r20%\r30%") == "30%"
    assert clean("10%\r20%\r") == "20%"


def test_direction_overrides_are_made_visible() -> None:
    assert clean("model\u202egnp.exe") == "model\ufffdgnp.exe"


def test_a_line_of_a_hundred_megabytes_costs_no_more_than_its_beginning() -> None:
    assert clean("x" * 10_000_000) == "x" * MAX_CHARACTERS


def test_ordinary_words_of_any_language_stay_as_they_are() -> None:
    for text in ("loss[/]=1 [/foo] [tag=value:", "Läsionsvolumen", "脳 MRI", "5 µm", "⣿ 84 %"):
        assert clean(text) == text
