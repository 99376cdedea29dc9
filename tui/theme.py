"""The looks: four themes of steptop's own, and the roles every character on the screen has."""

from __future__ import annotations

from textual.theme import BUILTIN_THEMES, Theme

from engine.errors import unknown

# What a piece of text is for. app.tcss gives each a colour of the theme; text-style lives there too.
ROLES = (
    "text",
    "label",
    "number",
    "accent",
    "key",
    "good",
    "warn",
    "bad",
    "alarm",
    "notice",
    "bar",
    "track",
    "faint",
    "warnbar",
    "badbar",
)


def _theme(
    name: str,
    *,
    background: str,
    strip: str,
    rule: str,
    track: str,
    faint: str,
    label: str,
    text: str,
    number: str,
    accent: str,
    good: str,
    warn: str,
    bad: str,
    dark: bool = True,
    ansi: bool = False,
) -> Theme:
    return Theme(
        name=name,
        dark=dark,
        ansi=ansi,
        primary=accent,
        secondary=accent,
        accent=accent,
        warning=warn,
        error=bad,
        success=good,
        foreground=text,
        background=background,
        surface=strip,
        panel=strip,
        boost=strip,
        variables=(BUILTIN_THEMES["ansi-dark"].variables if ansi else {})
        | {
            "label": label,
            "number": number,
            "rule": rule,
            "track": track,
            "faint": faint,
            "strip": strip,
            "good": good,
            "warn": warn,
            "bad": bad,
            "border": accent,
            "border-blurred": rule,
            "scrollbar": rule,
            "scrollbar-hover": label,
            "scrollbar-active": accent,
            "scrollbar-background": background,
            "scrollbar-background-hover": background,
            "scrollbar-background-active": background,
            "scrollbar-corner-color": background,
            "block-cursor-background": accent,
            "block-cursor-foreground": background if not ansi else "ansi_black",
            "block-cursor-text-style": "none",
        },
    )


DARK = _theme(
    "dark",
    background="#11141b",
    strip="#1b202c",
    rule="#38415a",
    track="#2b3245",
    faint="#5a647c",
    label="#8b96ad",
    text="#c8d0df",
    number="#f5f7fb",
    accent="#62b6f7",
    good="#7fd08c",
    warn="#f7b955",
    bad="#ff6f7d",
)
LIGHT = _theme(
    "light",
    background="#fbfcfe",
    strip="#e8ecf4",
    rule="#b3bccd",
    track="#d6dce8",
    faint="#828ca0",
    label="#5b6579",
    text="#272e3b",
    number="#05070b",
    accent="#0a62c2",
    good="#15752f",
    warn="#945200",
    bad="#c01a30",
    dark=False,
)
# Okabe and Ito's palette, brightened for a dark ground: told apart with any of the usual colour deficiencies.
COLOUR_BLIND = _theme(
    "colour-blind",
    background="#10131a",
    strip="#1b202c",
    rule="#3b4560",
    track="#2b3245",
    faint="#5f6a83",
    label="#929db4",
    text="#ccd3e0",
    number="#ffffff",
    accent="#56b4e9",
    good="#2fbf9b",
    warn="#f0e442",
    bad="#f07c3e",
)
# The sixteen colours the terminal was set up with, on its own background.
ANSI = _theme(
    "ansi",
    background="ansi_default",
    strip="ansi_default",
    rule="ansi_bright_black",
    track="ansi_bright_black",
    faint="ansi_bright_black",
    label="ansi_bright_black",
    text="ansi_default",
    number="ansi_default",
    accent="ansi_cyan",
    good="ansi_green",
    warn="ansi_yellow",
    bad="ansi_red",
    ansi=True,
)

THEMES = {theme.name: theme for theme in (DARK, LIGHT, COLOUR_BLIND, ANSI)}


def check_known(name: str) -> None:
    """Raises UsageError for a name that is neither steptop's nor Textual's."""
    if name not in THEMES and name not in BUILTIN_THEMES:
        raise unknown("theme", name, [*THEMES, *BUILTIN_THEMES])


def variables_for(theme: Theme) -> dict[str, str]:
    """steptop's own variables for a theme that does not set them (Textual's, chosen with --theme)."""
    text = theme.foreground or ("#e0e0e0" if theme.dark else "#202020")
    shares = {"label": 65, "faint": 45, "rule": 30, "track": 20}
    muted = {name: "ansi_bright_black" if theme.ansi else f"{text} {share}%" for name, share in shares.items()}
    return muted | {
        "number": text,
        "strip": theme.surface or ("#1e1e1e" if theme.dark else "#d8d8d8"),
        "good": theme.success or "#4ebf71",
        "warn": theme.warning or "#ffa62b",
        "bad": theme.error or "#ba3c5b",
    }
