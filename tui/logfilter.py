"""Which lines of a log are wanted: those with a text, or in which a regular expression is found.

What a user types must not hang the screen. Python's own `re` takes for ever over `(a+)+$`, and nothing can stop it;
RE2's time grows with the length of the line alone. It has no look-around and no back-references.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Match = Callable[[str], bool]
# Without one of these a regular expression is only a text, and RE2 (3.4 MB of memory) is not needed.
META = frozenset("\\.^$*+?{}[]|()")


def matcher(pattern: str) -> Match:
    """Small letters match capitals too, a capital only itself. Raises ValueError for what is no expression."""
    # The S of \S is no capital.
    exact = any(c.isupper() for c in re.sub(r"\\.", "", pattern))
    if META.isdisjoint(pattern):
        return (lambda line: pattern in line) if exact else (lambda line: pattern in line.lower())
    return _expression(pattern, exact)


def _expression(pattern: str, exact: bool) -> Match:
    import re2

    options = re2.Options()
    options.case_sensitive = exact
    options.log_errors = False  # it would write over the screen
    try:
        found = re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        raise ValueError(said.decode(errors="replace") if isinstance(said, bytes) else str(said)) from None
    return lambda line: found.search(line) is not None
