"""How many sequences a network that draws peptides is scored on, for each held-out part of a fold."""

from __future__ import annotations

# Sequences that validation sees, where val_patches_per_volume does not say how many.
VALIDATED = 512
# Peptides drawn: every so many epochs, and at the end.
DRAWN, DRAWN_AT_THE_END = 50, 200
