"""An error the user can mend: what was wrong, where, and what would be right."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from difflib import get_close_matches

# A disk that is full, a quota that is used up, a file that has grown too large: free some space, and go on.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UsageError(Exception):
    """Bad input. The command line prints it and exits with 2; nothing has been changed on disk."""


class DataError(UsageError):
    """A volume, label or folder that cannot be trained on; the message names the file and the remedy."""


def unknown(kind: str, name: object, known: Iterable[str], where: str = "") -> UsageError:
    """`no experiment called 'quikstart'; did you mean 'quickstart'? There are: …`"""
    names = sorted(known)
    near = get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    place = f" in {where}" if where else ""
    return UsageError(f"no {kind} called {str(name)!r}{place}{hint} There are: {', '.join(names) or 'none'}")
