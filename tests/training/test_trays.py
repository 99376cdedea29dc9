"""Batches come in memory that is used again: never while somebody still needs what is in it."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.config.prepared import Subject
from engine.config.profile import Profile, defaults
from engine.errors import DataError
from engine.training.loader import Feed
from engine.training.samples import Batch, Volumes, collate
from engine.training.trays import FOLDER, STRIDE, Trays

COUNT = 7
# As many as in one page of memory, at least.
SHAPE = (10, 12, 14)


@pytest.fixture
def subjects(tmp_path: Path) -> tuple[Subject, ...]:
    """Volume i is filled with i."""
    made = []
    for i in range(COUNT):
        folder = tmp_path / f"case-{i}"
        folder.mkdir()
        np.save(folder / "image.npy", np.full(SHAPE, i, dtype=np.float32))
        np.save(folder / "label.npy", np.full(SHAPE, i % 2, dtype=np.uint8))
        made.append(Subject(id=f"sub-{i}", folder=str(folder)))
    return tuple(made)


def feed_of(subjects: tuple[Subject, ...], device: str = "cpu", **knobs: Any) -> Feed:
    held = defaults() | {"num_workers": 1, "prefetch_factor": 1, "batch_size": 2} | knobs
    return Feed(Volumes(subjects), Profile(name="test", knobs=held), 42, device)


def file_of(tensor: Tensor) -> tuple[str, str]:
    """The file that it is mapped from, by its device and its number there."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, _, device, number, *_ = line.split()
        low, high = (int(end, 16) for end in span.split("-"))
        if low <= tensor.data_ptr() < high:
            return device, number
    raise AssertionError("mapped nowhere")


def right(batch: Batch) -> bool:
    """Whether every sample is the volume that it says it is."""
    pairs = zip(batch.indices, batch.image, batch.label, strict=True)
    return all(bool((image == i).all()) and bool((label == i % 2).all()) for i, image, label in pairs)


@pytest.mark.parametrize("persistent", [True, False])
def test_batches_that_are_kept_stay_as_they_are_however_many_follow(
    subjects: tuple[Subject, ...], persistent: bool
) -> None:
    feed = feed_of(subjects, num_workers=2, persistent_workers=persistent)
    try:
        kept = [batch for epoch in (1, 2, 3) for batch in feed.epoch(epoch)]
        assert len(kept) == 12 and all(right(batch) for batch in kept)
    finally:
        feed.close()
    assert all(right(batch) for batch in kept), "they outlive their loader"


def test_batches_come_in_the_same_memory_when_the_ones_before_have_gone(subjects: tuple[Subject, ...]) -> None:
    feed = feed_of(subjects)
    try:
        files = set()
        for epoch in (1, 2, 3):
            batches = feed.epoch(epoch)
            for _ in range(4):
                batch = next(batches)
                assert right(batch)
                files.add(file_of(batch.image))
                del batch
        assert len(files) == 1
    finally:
        feed.close()


def test_what_backward_still_needs_is_not_written_over(subjects: tuple[Subject, ...]) -> None:
    """A gradient of the first batch, taken when eight others have come, and the batch itself has long gone."""
    gradients = []
    for workers in (0, 2):
        feed = feed_of(subjects, num_workers=workers)
        try:
            torch.manual_seed(1)
            network = torch.nn.Conv3d(1, 2, 3)
            batches = feed.epoch(1)
            loss = network(next(batches).image).square().sum()
            assert all(right(batch) for batch in [*batches, *feed.epoch(2)])
            loss.backward()
            gradients.append(network.weight.grad)
        finally:
            feed.close()
    assert gradients[0] is not None and torch.equal(gradients[0], gradients[1])


@pytest.mark.parametrize("context", ["spawn", "forkserver"])
def test_workers_that_are_no_forks_write_into_it_too(subjects: tuple[Subject, ...], context: str) -> None:
    feed = feed_of(subjects, multiprocessing_context=context)
    try:
        batches = list(feed.epoch(1))
        assert all(right(batch) for batch in batches)
        # There are two trays, and what is in them is kept here: so the other two batches came otherwise.
        files = [file_of(batch.image) for batch in batches]
        assert files.count(files[0]) == 2 and len(set(files)) == 3
    finally:
        feed.close()


def test_a_device_that_reads_shared_memory_itself_gets_batches_of_their_own(subjects: tuple[Subject, ...]) -> None:
    feed = feed_of(subjects, "cuda", pin_memory=False)
    try:
        batches = list(feed.epoch(1))
        assert len({file_of(batch.image) for batch in batches}) == len(batches) == 4
    finally:
        feed.close()


def test_a_tray_is_free_again_when_the_last_view_of_it_has_gone() -> None:
    trays = Trays(1)
    number, written = trays.take(100) or (-1, torch.empty(0))
    written.fill_(3)
    assert number == 0 and trays.take(100) is None
    held = trays.hold(number, 100)
    view = held[40:50].view(2, 5)
    del held
    assert trays.take(100) is None and (view == 3).all()
    del view
    again = trays.take(5000)  # a larger batch
    assert again is not None and again[0] == 0 and len(again[1]) == 5000


def test_a_process_forked_meanwhile_gives_nothing_back() -> None:
    """Workers of the next loader are forked while the trainer holds a batch of this one."""
    trays = Trays(1)
    number, _ = trays.take(100) or (-1, None)
    held = trays.hold(number, 100)
    if not (child := os.fork()):
        del held
        os._exit(0)
    os.waitpid(child, 0)
    assert trays.take(100) is None
    del held
    assert trays.take(100) is not None


def test_a_tray_that_there_is_no_room_for_is_left_for_smaller_batches() -> None:
    info = os.statvfs(FOLDER)
    trays = Trays(1)
    assert trays.take(min(info.f_blocks * info.f_frsize, STRIDE) + 1) is None
    assert trays.take(100) is not None


def test_without_such_memory_batches_come_as_torch_sends_them(subjects: tuple[Subject, ...]) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    feed = feed_of(subjects)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, limits[1]))  # a file for all trays could be larger
    try:
        batches = list(feed.epoch(1))
        assert all(right(batch) for batch in batches)
        assert len({file_of(batch.image) for batch in batches}) == len(batches)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        feed.close()


def test_samples_of_two_shapes_are_told(subjects: tuple[Subject, ...], tmp_path: Path) -> None:
    for name, kind in (("image.npy", np.float32), ("label.npy", np.uint8)):
        np.save(tmp_path / "case-1" / name, np.ones((1, 12, 14), kind))
    volumes = Volumes(subjects)
    with pytest.raises(DataError, match=r"samples of \(10, 12, 14\) and \(1, 12, 14\) voxels make no batch"):
        collate([volumes[1, 0], volumes[1, 1]])
