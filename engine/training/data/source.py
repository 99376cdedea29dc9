"""Where a subject's arrays come from, as the knob `cache` says: mapped, copied, or made anew every time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.config.prepared import Subject
from engine.config.tables import Prepare
from engine.errors import DataError
from engine.training.data import maps as label_maps, stacks
from engine.training.data.conform import conform
from engine.training.data.discover import Case
from engine.training.data.maps import Map, Wanted
from engine.training.data.nifti import shown
from engine.training.data.opened import Volume, open_volume
from engine.training.data.tiff import is_tiff
from engine.training.data.volumes import read_pair


class Loaded(NamedTuple):
    """A subject: its volume, what was made of its label, and where its foreground is (places in C order; None where
    nobody asks)."""

    volume: Volume
    maps: dict[str, Map]
    places: NDArray[np.uint32] | None


class Source:
    """Subjects by their number. `disk` maps what was prepared; `ram` keeps a copy of each in the process that first
    loads it, for good; `none` reads and prepares the source files every time, as `prepare` says."""

    def __init__(self, subjects: Sequence[Subject], cache: str, prepare: Prepare, want: Wanted) -> None:
        self._subjects = tuple(subjects)
        self._make = {"disk": self._mapped, "ram": self._copied, "none": self._anew}[cache]
        self._keeps = cache != "none"
        self._prepare = prepare
        self._want = want
        self._open: dict[int, Loaded] = {}

    def __getitem__(self, index: int) -> Loaded:
        """Raises DataError if the volume is not there or not right."""
        if index in self._open:
            return self._open[index]
        found = self._make(self._subjects[index])
        if self._keeps:
            self._open[index] = found
        return found

    def _mapped(self, subject: Subject) -> Loaded:
        folder, want = Path(subject.folder), self._want
        label_maps.ensure(folder, want)
        places = label_maps.places(folder, want) if want.places else None
        return Loaded(open_volume(folder), label_maps.opened(folder, want), places)

    def _copied(self, subject: Subject) -> Loaded:
        volume, maps, places = self._mapped(subject)
        return Loaded(
            volume._replace(image=np.array(volume.image), label=np.array(volume.label)),
            {name: np.array(one) for name, one in maps.items()},
            None if places is None else np.array(places),
        )

    def _anew(self, subject: Subject) -> Loaded:
        image, label, want = Path(subject.image_file), Path(subject.label_file), self._want
        if is_tiff(image.name):
            volume = stacks.read(Case(id=subject.id, image=image, label=label), self._prepare, want).volume
        else:
            pair = read_pair(image, label)
            try:
                made = conform(pair.image, pair.mask, pair.header.matrix, self._prepare)
            except DataError as error:
                raise DataError(f"{shown(image)}: {error}") from None
            volume = Volume(made.image, made.label)
        places = label_maps.places_of(volume.label, want.ignore) if want.places else None
        return Loaded(volume, label_maps.of_label(volume.label, want), places)

    def __getstate__(self) -> dict[str, Any]:
        """Memory maps and copies stay behind: a spawned worker opens its own."""
        return self.__dict__ | {"_open": {}}
