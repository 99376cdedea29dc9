"""Patches as steptop's trainer loads them."""

from __future__ import annotations

from engine.config.prepared import Subject
from engine.config.profile import Profile, defaults
from engine.config.tables import Patch
from engine.training.augment import chain
from engine.training.data.cases import prepare_all
from engine.training.data.maps import Wanted
from engine.training.loader import Feed
from engine.training.samples import Volumes
from tests.benchmarks._same_patches import FOREGROUND, SEED, Patches, Work


class Steptop:
    """Prepared once into the cache, mapped from there (`cache = "disk"`)."""

    name = "steptop"

    def __init__(self, work: Work) -> None:
        self.work = work
        self.want = Wanted(places=True, patch=work.patch)
        self.subjects: tuple[Subject, ...] = ()

    def prepare(self) -> None:
        work = self.work
        cache = work.folder / "steptop"
        cache.mkdir(parents=True)
        done = prepare_all(work.cases, cache, work.prepare, lambda: False, max(1, work.workers), self.want)
        made = (
            Subject(
                id=one.case.id, folder=str(cache / one.record.key), image_file=str(one.case.image),
                label_file=str(one.case.label),
            )
            for one in done
        )
        self.subjects = tuple(sorted(made, key=lambda subject: subject.id))

    def epoch(self, number: int, patches: int) -> Patches:
        work = self.work
        knobs = defaults() | {
            "num_workers": work.workers, "batch_size": work.batch, "persistent_workers": False, "pin_memory": False,
        }
        volumes = Volumes(
            self.subjects, SEED, chain.build(work.augment), "disk", work.prepare,
            Patch(shape=work.patch, foreground=FOREGROUND), self.want,
        )
        feed = Feed(volumes, Profile(name="benchmark", knobs=knobs), SEED, "cpu", patches)
        try:
            for batch in feed.epoch(number):
                yield batch.image, batch.label
        finally:
            feed.close()
