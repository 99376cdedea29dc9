"""The wire: what a Canvas lets through shows the same picture with fewer bytes, and nothing but a picture."""

from __future__ import annotations

import pyte
from hypothesis import given, settings, strategies as st
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from tui.terminal import Canvas, Pen, change, pen_after

WIDTH, HEIGHT = 24, 6

colours = st.sampled_from([None, "red", "#10a0ff", "#ffffff", "color(99)"])
styles = st.builds(
    Style,
    color=colours,
    bgcolor=colours,
    bold=st.booleans(),
    reverse=st.booleans(),
    underline=st.booleans(),
    italic=st.booleans(),
)
words = st.text(alphabet="ab ─━█⣿é日本…", min_size=1, max_size=12)
patches = st.lists(
    st.tuples(st.integers(0, HEIGHT - 1), st.integers(0, WIDTH - 1), words, styles), min_size=1, max_size=6
)


def drawn(patch: list[tuple[int, int, str, Style]]) -> str:
    """Patches of text as Textual would write them: moves, styled segments, a reset after each."""
    from rich.console import Console

    console = Console(color_system="truecolor", force_terminal=True)
    parts = []
    for y, x, text, style in patch:
        strip = Strip([Segment(text, style)]).crop(0, WIDTH - x)
        parts.append(f"\x1b[{y + 1};{x + 1}H{strip.render(console)}")
    return "\n".join(parts)


def cells(screen: pyte.Screen) -> list[list[tuple[object, ...]]]:
    return [[_seen(screen.buffer[y][x]) for x in range(WIDTH)] for y in range(HEIGHT)]


def _seen(cell: pyte.screens.Char) -> tuple[object, ...]:
    """A blank's colour and weight cannot be seen unless it is underlined or reversed."""
    if cell.data in (" ", "") and not cell.underscore and not cell.reverse:
        return (" ", cell.bg)
    return tuple(cell)


def emulator() -> tuple[pyte.Screen, pyte.Stream]:
    screen = pyte.Screen(WIDTH, HEIGHT)
    screen.reset_mode(pyte.modes.DECAWM)
    return screen, pyte.Stream(screen)


def whole_frame(patch: list[tuple[int, int, str, Style]]) -> str:
    """Every cell first, so that both emulators begin from the same picture."""
    blank = "".join(f"\x1b[{y + 1};1H\x1b[48;2;9;9;9m{' ' * WIDTH}\x1b[0m" for y in range(HEIGHT))
    return blank + drawn(patch)


narrow = st.text(alphabet="ab ─━█⣿é…", min_size=1, max_size=12)
narrow_patches = st.lists(
    st.tuples(st.integers(0, HEIGHT - 1), st.integers(0, WIDTH - 1), narrow, styles), min_size=1, max_size=6
)


@settings(max_examples=150, deadline=None)
@given(st.lists(narrow_patches, min_size=1, max_size=5))
def test_the_lean_frames_show_the_same_picture(frames: list[list[tuple[int, int, str, Style]]]) -> None:
    (fat, fat_stream), (lean, lean_stream) = emulator(), emulator()
    canvas = Canvas(WIDTH, HEIGHT)
    for number, patch in enumerate(frames):
        data = whole_frame(patch) if number == 0 else drawn(patch)
        fat_stream.feed(data.replace("\n", ""))
        lean_stream.feed(canvas.feed(data))
    assert cells(lean) == cells(fat)


@settings(max_examples=60, deadline=None)
@given(patches)
def test_characters_of_two_cells_are_shown_where_they_were_drawn(patch: list[tuple[int, int, str, Style]]) -> None:
    (fat, fat_stream), (lean, lean_stream) = emulator(), emulator()
    data = whole_frame(patch[:1])
    fat_stream.feed(data.replace("\n", ""))
    lean_stream.feed(Canvas(WIDTH, HEIGHT).feed(data))
    assert lean.display == fat.display


def test_a_frame_that_changes_nothing_sends_nothing() -> None:
    canvas = Canvas(WIDTH, HEIGHT)
    frame = drawn([(0, 0, "loss 0.231", Style(color="red")), (3, 4, "━━━", Style())])
    assert canvas.feed(frame)
    assert canvas.feed(frame) == ""


def test_one_changed_digit_sends_one_digit() -> None:
    canvas = Canvas(WIDTH, HEIGHT)
    canvas.feed(drawn([(1, 0, "step 87 of 148", Style(color="red"))]))
    sent = canvas.feed(drawn([(1, 0, "step 88 of 148", Style(color="red"))]))
    assert sent.count("8") == 1
    assert len(sent) < 20


def test_after_forgetting_everything_is_sent_again() -> None:
    canvas = Canvas(WIDTH, HEIGHT)
    frame = drawn([(0, 0, "steptop", Style())])
    first = canvas.feed(frame)
    canvas.forget(WIDTH, HEIGHT)
    assert canvas.feed(frame) == first


def test_titles_clipboards_and_other_strings_never_pass() -> None:
    canvas = Canvas(WIDTH, HEIGHT)
    for evil in (
        "\x1b]0;PWNED\x07",
        "\x1b]52;c;Y3VybA==\x1b\\",
        "\x1bPq#0\x1b\\",
        "\x1b_Gf\x1b\\",
        "\x1b[2J",
        "\x1bc",
        "\x9b5n",
        "\x1b[6n",
        "\x07",
    ):
        sent = canvas.feed(f"\x1b[1;1Hbefore{evil}after")
        canvas.forget(WIDTH, HEIGHT)
        assert sent.replace("\x1b[1;1H", "").replace("\x1b[m", "").replace("\x1b[0m", "").startswith("before"), evil
        assert not set(sent) & set("\x07\x9b\x90")
        assert (
            "\x1b]" not in sent
            and "\x1bP" not in sent
            and "\x1b_" not in sent
            and "\x1bc" not in sent
            and "[2J" not in sent
            and "[6n" not in sent
        )


def test_mode_switches_of_the_driver_pass_and_hovering_is_not_reported() -> None:
    canvas = Canvas(WIDTH, HEIGHT)
    assert canvas.feed("\x1b[?1049h") == "\x1b[?1049h"
    assert canvas.feed("\x1b[?2026$p") == "\x1b[?2026$p"
    assert canvas.feed("\x1b[>25u") == "\x1b[>25u"
    assert canvas.feed("\x1b[?1003h") == "\x1b[?1002h"


def test_a_colour_change_alone_is_not_a_reset() -> None:
    red, blue = Pen(("1",), "31", "40"), Pen(("1",), "34", "40")
    assert change(red, blue) == "\x1b[34m"
    assert change(red, Pen((), "31", "40")) == "\x1b[0;31;40m"
    assert change(None, Pen()) == "\x1b[m"
    assert pen_after(red, "22;39") == Pen((), "", "40")
    assert pen_after(Pen(), "1;38;2;1;2;3;48;5;7") == Pen(("1",), "38;2;1;2;3", "48;5;7")
