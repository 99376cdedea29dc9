"""What each [data] source is, in words: what steptop makes itself, what it wants given, and what is told of it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from engine.config.experiment import Experiment
from engine.config.plan import Plan
from engine.errors import DataError, UsageError

# Said wherever figures are shown that come from nobody's data: check, status, header, results and report.
EXAMPLE = "example data"
Unit: TypeAlias = Literal["mm³", "% of the volume", "residues"]
VOLUMES = (
    "a BIDS-like tree (sub-*/ses-*/anat and derivatives/lesion_masks) or a folder with images/ and labels/ of equal "
    "names"
)


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """`made`: what steptop writes itself from a seed, "" where --data gives it; `wanted`: what --data is then, and
    `form` how its files are; `file`: it may be one file. `cases`: what there are many of; `spread`: what differs among
    them, in `unit`. `spacing`: whether its files say how large a voxel is."""

    made: str = ""
    wanted: str = ""
    form: str = ""
    file: bool = False
    cases: str = "subjects"
    spread: str = "lesion"
    unit: Unit = "mm³"
    spacing: bool = True

    @property
    def told(self) -> str:
        """`lesion, mm³`."""
        return f"{self.spread}, {self.unit}"


NIFTI = "NIfTI (.nii, .nii.gz) of three dimensions, masks on their image's grid, above 0 what is to be found"
TIFF = "uint8, uint16, int16 or float32, labels uint8: 0, 1, … and data.ignore; shapes may differ from pair to pair"
SOURCES: dict[str, Source] = {
    "phantom": Source(made="phantoms"),
    "bids": Source(wanted=VOLUMES, form=NIFTI),
    "pairs": Source(wanted=VOLUMES, form=NIFTI, spread="labelled"),
    "sheets": Source(
        made="sheets", cases="volumes", spread="surface", unit="% of the volume", spacing=False,
    ),
    "tiff": Source(
        wanted="a folder with images/ and labels/ that hold 3D TIFF files of equal names", form=TIFF, cases="volumes",
        spread="surface", unit="% of the volume", spacing=False,
    ),
    "sequences": Source(
        wanted="a FASTA file, or a CSV file with a column called sequence (or a folder that holds one such file)",
        form="4 to 20 of the 20 amino acids each; .gz of either is unpacked", file=True, cases="sequences",
        spread="length", unit="residues",
    ),
    "peptides": Source(made="peptides", cases="sequences", spread="length", unit="residues"),
}

MADE = {name: one.made for name, one in SOURCES.items() if one.made}


def source_of(experiment: Experiment) -> Source:
    return SOURCES[experiment.data.source]


def example(experiment: Experiment) -> str:
    """`example data: phantoms that steptop makes itself, nobody's`; '' for data that somebody gave."""
    made = "" if experiment.command else source_of(experiment).made
    return f"{EXAMPLE}: {made} that steptop makes itself, nobody's" if made else ""


def trained_on(plan: Plan) -> str:
    """Where the plan's data are, or that they are examples; '' for a trainer of one's own."""
    return example(plan.experiment) or plan.data_dir


def given(data: Path | None, name: str, experiment: Experiment, without_data: bool = False) -> str:
    """The absolute path of what --data names for the experiment called `name`, '' where nothing is needed, or for now
    `without_data`. Raises UsageError or DataError."""
    place, source = data.expanduser().resolve() if data is not None else None, source_of(experiment)
    if experiment.command:
        return str(place or "")
    if source.made and place is not None:
        raise UsageError(
            f"--data {data}: {name} trains on {source.made} that it makes itself; take one for data of yours "
            "(`steptop experiments`), or a copy of its file with another [data] source"
        )
    if place is None:
        if source.made or without_data:
            return ""
        word = "FILE" if source.file else "DIR"
        raise UsageError(f"{name} trains on your data: say where they are with --data {word}, {source.wanted}")
    if not place.is_dir() and not (source.file and place.is_file()):
        raise DataError(f"--data {place}: there is no such {'file' if source.file else 'folder'}")
    return str(place)


def missing(plan: Plan) -> str:
    """What to give with --data; '' where nothing is missing."""
    source = source_of(plan.experiment)
    if source.made or plan.data_dir:
        return ""
    noun, word = ("file", "FILE") if source.file else ("folder", "DIR")
    return f"{plan.experiment_name} trains on your data: give their {noun} with --data {word}: {source.wanted}"
