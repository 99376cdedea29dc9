"""Follow one experiment's journals: what a screen, `status` and `replay` all look through."""

from __future__ import annotations
