"""What each [data] source is, in words for who has not given the data it needs, or gave it data it has no use for."""

from __future__ import annotations

# Written by steptop itself, from a seed: nobody's data.
MADE = {"phantom": "phantoms", "sheets": "sheets", "peptides": "peptides"}
VOLUMES = (
    "a BIDS-like tree (sub-*/ses-*/anat and derivatives/lesion_masks) or a folder with images/ and labels/ of equal "
    "names"
)
WANTED = {
    "bids": VOLUMES,
    "pairs": VOLUMES,
    "tiff": "a folder with images/ and labels/ that hold 3D TIFF files of equal names",
    "sequences": "a FASTA file, or a CSV file with a column called sequence (or a folder that holds one such file)",
}
# Those that may be one file.
FILES = ("sequences",)
