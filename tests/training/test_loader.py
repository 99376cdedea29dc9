"""Samples come in an order that seed and epoch decide, whoever loads them."""

from __future__ import annotations

import os
import pickle
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from numpy.random import Generator

from engine.config.prepared import Subject
from engine.config.profile import Profile, defaults
from engine.errors import DataError
from engine.training.handover import room_for
from engine.training.loader import Feed
from engine.training.samples import Arrays, Batch, Volumes, collate
from tests.conftest import wait_until

COUNT = 7


@pytest.fixture
def subjects(tmp_path: Path) -> tuple[Subject, ...]:
    """Volume i is filled with i."""
    made = []
    for i in range(COUNT):
        folder = tmp_path / f"case-{i}"
        folder.mkdir()
        np.save(folder / "image.npy", np.full((4, 5, 6), i, dtype=np.float32))
        np.save(folder / "label.npy", np.full((4, 5, 6), i % 2, dtype=np.uint8))
        made.append(Subject(id=f"sub-{i}", folder=str(folder)))
    return tuple(made)


def profile(**knobs: Any) -> Profile:
    return Profile(name="test", knobs=defaults() | {"num_workers": 0} | knobs)


def jitter(image: Any, label: Any, generator: Generator) -> Arrays:
    """A random transform, as an augmentation would be."""
    return image + generator.normal(0, 1, image.shape).astype(np.float32), label


def slow(image: Any, label: Any, _generator: Generator) -> Arrays:
    time.sleep(0.2)
    return image, label


def patient(image: Any, label: Any, _generator: Generator) -> Arrays:
    """The first volume takes long."""
    time.sleep(0.5 if image.flat[0] == 0 else 0.0)
    return image, label


def stuck(image: Any, label: Any, _generator: Generator) -> Arrays:
    time.sleep(600)
    return image, label


def take(feed: Feed, epoch: int, count: int, seen: tuple[int, ...] = ()) -> list[Batch]:
    batches: Iterator[Batch] = feed.epoch(epoch, seen)
    return [next(batches) for _ in range(count)]


def order(batches: list[Batch]) -> list[int]:
    return [index for batch in batches for index in batch.indices]


def test_a_batch_holds_its_samples_in_the_shape_the_network_wants(subjects: tuple[Subject, ...]) -> None:
    feed = Feed(Volumes(subjects), profile(batch_size=3), 42, "cpu")
    (batch,) = take(feed, 1, 1)
    assert batch.image.shape == (3, 1, 4, 5, 6)
    assert (batch.image.dtype, batch.label.dtype) == (torch.float32, torch.uint8)
    assert batch.image[:, 0, 0, 0, 0].tolist() == [float(i) for i in batch.indices]
    assert batch.load_seconds > 0


def test_every_epoch_shows_every_subject_once_and_the_last_batch_may_be_smaller(subjects: tuple[Subject, ...]) -> None:
    feed = Feed(Volumes(subjects), profile(batch_size=3), 42, "cpu")
    first, second = take(feed, 1, 3), take(feed, 2, 3)
    assert [len(batch.indices) for batch in first] == [3, 3, 1]
    assert sorted(order(first)) == sorted(order(second)) == list(range(COUNT))
    assert order(first) != order(second)


@pytest.mark.parametrize("persistent", [True, False])
def test_two_workers_bring_the_same_samples_as_none(subjects: tuple[Subject, ...], persistent: bool) -> None:
    alone = Feed(Volumes(subjects, 42, jitter), profile(), 42, "cpu")
    helped = Feed(
        Volumes(subjects, 42, jitter), profile(num_workers=2, persistent_workers=persistent), 42, "cpu"
    )
    try:
        for epoch in (1, 2, 3):
            expected, got = take(alone, epoch, COUNT), take(helped, epoch, COUNT)
            assert order(expected) == order(got)
            assert all(torch.equal(a.image, b.image) for a, b in zip(expected, got, strict=True))
    finally:
        helped.close()


def test_an_interrupted_epoch_goes_on_with_what_had_not_been_seen(subjects: tuple[Subject, ...]) -> None:
    whole = take(Feed(Volumes(subjects, 1, jitter), profile(batch_size=2), 1, "cpu"), 3, 4)
    seen = tuple(order(whole[:2]))
    rest = take(Feed(Volumes(subjects, 1, jitter), profile(batch_size=2), 1, "cpu"), 3, 2, seen)
    assert order(rest) == order(whole[2:])
    assert all(torch.equal(a.image, b.image) for a, b in zip(rest, whole[2:], strict=True))


def test_loading_draws_nothing_from_the_global_generators(subjects: tuple[Subject, ...]) -> None:
    torch.manual_seed(3), random.seed(3), np.random.seed(3)
    before = (torch.get_rng_state(), random.getstate(), np.random.get_state(legacy=True)[1].copy())
    feed = Feed(Volumes(subjects, 3, jitter), profile(num_workers=1), 3, "cpu")
    take(feed, 1, COUNT), take(feed, 2, COUNT)
    feed.close()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert (np.random.get_state(legacy=True)[1] == before[2]).all()


def test_load_time_is_measured_where_the_loading_happens(subjects: tuple[Subject, ...]) -> None:
    feed = Feed(Volumes(subjects, 0, slow), profile(num_workers=2, batch_size=2), 42, "cpu")
    try:
        batches = take(feed, 1, 4)
        assert all(batch.load_seconds >= 0.2 * len(batch.indices) for batch in batches)
    finally:
        feed.close()


def test_out_of_order_batches_say_which_subjects_they_hold(subjects: tuple[Subject, ...]) -> None:
    feed = Feed(Volumes(subjects, 0, patient), profile(num_workers=2, in_order=False), 42, "cpu")
    try:
        got = take(feed, 1, COUNT)
        assert sorted(order(got)) == list(range(COUNT))
        assert all(float(batch.image.mean()) == batch.indices[0] for batch in got)
        assert order(got) != order(take(Feed(Volumes(subjects), profile(), 42, "cpu"), 1, COUNT))
    finally:
        feed.close()


OTHERS: set[int] = set()


@pytest.fixture(autouse=True)
def others() -> None:
    """Processes that this one had before the test began are not its loader's."""
    OTHERS.clear()
    OTHERS.update(child.pid for child in psutil.Process().children(recursive=True))


def workers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if child.pid not in OTHERS]


def test_a_worker_killed_from_outside_is_the_error_that_is_raised(subjects: tuple[Subject, ...]) -> None:
    feed = Feed(Volumes(subjects, 0, stuck), profile(num_workers=1), 42, "cpu")
    feed.start(1)
    wait_until(workers, what="a worker")
    time.sleep(0.3)
    os.kill(workers()[0].pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="DataLoader worker") as caught:
        next(feed.epoch(1))
    said = f"{caught.value} {caught.value.__cause__}"
    assert "killed by signal: Killed" in said
    feed.close()


def test_sigterm_ends_a_stuck_worker_although_the_trainer_only_takes_note_of_it(subjects: tuple[Subject, ...]) -> None:
    noted: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: noted.append(number))
    feed = Feed(Volumes(subjects, 0, stuck), profile(num_workers=1), 42, "cpu")
    try:
        feed.start(1)
        wait_until(workers, what="a worker")
        (worker,) = workers()
        time.sleep(0.5)
        subprocess.run(["kill", "-TERM", str(worker.pid)], check=True)
        with pytest.raises(RuntimeError, match="DataLoader worker"):
            next(feed.epoch(1))
        assert noted == []
    finally:
        feed.close()
        signal.signal(signal.SIGTERM, before)


def test_a_worker_leaves_ctrl_c_to_the_trainer(subjects: tuple[Subject, ...]) -> None:
    feed = Feed(Volumes(subjects, 0, slow), profile(num_workers=1), 42, "cpu")
    try:
        batches = feed.epoch(1)
        next(batches)
        os.kill(workers()[0].pid, signal.SIGINT)
        assert len([next(batches) for _ in range(COUNT - 1)]) == COUNT - 1
    finally:
        feed.close()


def test_closing_leaves_no_process_behind(subjects: tuple[Subject, ...]) -> None:
    feed = Feed(Volumes(subjects), profile(num_workers=2), 42, "cpu")
    take(feed, 1, 2)
    assert len(workers()) >= 2
    feed.close()
    wait_until(lambda: not workers(), what="the workers' end")


def test_a_volume_that_has_gone_is_named(subjects: tuple[Subject, ...], tmp_path: Path) -> None:
    (tmp_path / "case-0" / "image.npy").unlink()
    feed = Feed(Volumes(subjects), profile(num_workers=1), 42, "cpu")
    try:
        with pytest.raises(DataError, match="case-0"):
            take(feed, 1, COUNT)
    finally:
        feed.close()


def test_a_spawned_worker_gets_no_memory_maps(subjects: tuple[Subject, ...]) -> None:
    volumes = Volumes(subjects)
    small = len(pickle.dumps(volumes))
    volumes[1, 0], volumes[1, 1]
    assert len(pickle.dumps(volumes)) == small


def test_writing_into_a_batch_leaves_the_prepared_volume_alone(subjects: tuple[Subject, ...]) -> None:
    volumes = Volumes(subjects)
    collate([volumes[1, 2]]).image.zero_()
    assert float(collate([volumes[1, 2]]).image.mean()) == 2.0


@pytest.mark.parametrize("in_order", [True, False])
def test_a_loader_that_is_let_out_hands_over_what_its_workers_have_begun(
    subjects: tuple[Subject, ...], in_order: bool
) -> None:
    """The next one starts behind that, and every sample comes once."""
    former = Feed(Volumes(subjects), profile(num_workers=2, prefetch_factor=1, in_order=in_order), 3, "cpu")
    following = Feed(Volumes(subjects), profile(num_workers=1), 3, "cpu")
    alone = Feed(Volumes(subjects), profile(), 3, "cpu")
    try:
        batches = former.epoch(1)
        seen = [draw for _ in range(3) for draw in next(batches).indices]
        coming = [draw for draws in former.let_out(1) for draw in draws]
        assert 1 <= len(coming) <= 2 and not set(coming) & set(seen)
        following.start(1, [*seen, *coming])
        there = [draw for _ in coming for draw in former.another().indices]
        assert sorted(there) == sorted(coming)
        rest = [draw for batch in following.epoch(1, [*seen, *coming]) for draw in batch.indices]
        order = [draw for batch in alone.epoch(1) for draw in batch.indices]
        assert sorted([*seen, *there, *rest]) == sorted(order)
        assert not in_order or [*seen, *there, *rest] == order
    finally:
        for feed in (former, following, alone):
            feed.close()


def test_both_loaders_at_once_only_where_memory_has_room(subjects: tuple[Subject, ...]) -> None:
    feed = Feed(Volumes(subjects), profile(num_workers=1), 3, "cpu")
    try:
        next(feed.epoch(1))
        assert room_for(feed.workers, 2, spawned=False)
        assert not room_for(feed.workers, 100_000, spawned=False)
        assert not room_for([], 1, spawned=False), "a trainer that loads itself has nothing to hand over"
    finally:
        feed.close()
