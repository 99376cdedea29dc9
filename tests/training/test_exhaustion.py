"""Memory that grows in real loader processes: found, and dated before it is used up.

The clock is the number of steps, so that nothing depends on how busy this machine is; what is read is real.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.journals.events import Sample, Worker
from engine.live.filling import Filling
from engine.live.trend import Trend, memory_trend

MIB = 1 << 20
SIDE, VOLUMES, WORKERS, STEP_SECONDS = 56, 150, 2, 4.0
EACH = SIDE**3 * 5
SCRIPT = Path(__file__).parent / "growing_loader.py"


def run(folder: Path, cache: str, steps: int, workers: int = WORKERS, persistent: bool = True) -> list[list[list[int]]]:
    """What every process had after each step."""
    words = [cache, VOLUMES, SIDE, workers, steps, "yes" if persistent else "no", folder / "volumes"]
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240, cwd=Path(__file__).parents[2])
    return [json.loads(line)["processes"] for line in done.stdout.splitlines()]


class Story:
    """The readings as samples of a machine on which `room` bytes are left before the first step."""

    def __init__(self, steps: list[list[list[int]]], room: float) -> None:
        sums = [sum(process[3] for process in processes) for processes in steps]
        # The first steps start the workers.
        self.begin = 4
        self.grown = [total - sums[self.begin] for total in sums]
        self.samples = [
            Sample(
                m=STEP_SECONDS * step, cores=2, cpu=1.0, ram_total=64 << 30, ram_available=max(0, int(room - self.grown[step])),
                workers=tuple(
                    Worker(pid=pid, role=role, rss=rss, pss=pss, uss=uss) for pid, role, rss, pss, uss in processes  # type: ignore[arg-type]
                ),
            )
            for step, processes in enumerate(steps)
        ]
        self.full = next((step for step, size in enumerate(self.grown) if size > room), None)

    def told(self, step: int, workers: int = WORKERS, bounded: bool = True) -> Trend:
        # Two batches a worker are loaded ahead.
        passes = (step + 1 + 2 * workers) / VOLUMES
        filling = Filling(volumes=VOLUMES, each=EACH, workers=workers, passes=passes, pass_seconds=VOLUMES * STEP_SECONDS)
        return memory_trend(self.samples[self.begin : step + 1], [filling] if bounded else [])

    def off(self, step: int, bounded: bool = True) -> float:
        """By how much the time to exhaustion, told at `step`, was wrong, as a share of it."""
        assert self.full is not None and step < self.full
        told = self.told(step, bounded=bounded).full_in_seconds
        assert told is not None
        real = (self.full - step) * STEP_SECONDS
        return abs(told - real) / real


@pytest.fixture(scope="module")
def unbounded(tmp_path_factory: pytest.TempPathFactory) -> list[list[list[int]]]:
    """Each volume copied into each worker that meets it, over five epochs."""
    return run(tmp_path_factory.mktemp("ram"), "ram", 5 * VOLUMES)


@pytest.mark.slow
def test_exhaustion_in_the_first_epoch_is_dated_within_15_percent(unbounded: list[list[list[int]]]) -> None:
    story = Story(unbounded, room=0.7 * VOLUMES * EACH)
    assert story.full is not None and story.full < VOLUMES
    for step in range(50, story.full - 25):
        assert story.off(step) < 0.15, step
        # Nothing known of a cache, as with somebody's own trainer: the slope alone.
        assert story.off(step, bounded=False) < 0.15, step


@pytest.mark.slow
def test_exhaustion_in_a_later_epoch_is_dated_from_the_first(unbounded: list[list[list[int]]]) -> None:
    """A worker meets ever fewer volumes that it does not have yet; the slope alone would say an epoch too early."""
    story = Story(unbounded, room=1.42 * VOLUMES * EACH)
    assert story.full is not None and story.full > VOLUMES + 30
    for step in range(60, story.full - 60, 3):
        assert story.off(step) < 0.15, step


@pytest.mark.slow
def test_a_cache_that_fits_is_not_called_endless(unbounded: list[list[list[int]]]) -> None:
    story = Story(unbounded, room=WORKERS * VOLUMES * EACH + 40 * MIB)
    assert story.full is None
    for step in range(60, 5 * VOLUMES, 30):
        trend = story.told(step)
        assert trend.full_in_seconds is None
        left = story.grown[-1] - story.grown[step]
        assert trend.at_most == pytest.approx(left, abs=0.1 * WORKERS * VOLUMES * EACH)
        if trend.text:
            assert trend.text.startswith("until every worker has seen all 150 volumes: at most ") and trend.text.endswith("which fits")
    # By then they have; without that knowledge the growth has ended as well.
    assert story.told(5 * VOLUMES - 1, bounded=False).full_in_seconds is None


@pytest.mark.slow
def test_mapped_volumes_are_not_taken_for_growth(tmp_path: Path) -> None:
    """Their pages are the kernel's cache, which it takes back; RSS alone would say that memory fills up."""
    steps = run(tmp_path, "disk", 3 * VOLUMES)
    rss = [sum(process[2] for process in processes) for processes in steps]
    assert rss[-1] - rss[4] > VOLUMES * EACH
    story = Story(steps, room=0.85 * VOLUMES * EACH)
    assert max(story.grown) < 0.2 * VOLUMES * EACH
    trend = story.told(3 * VOLUMES - 1, bounded=False)
    assert trend.full_in_seconds is None


@pytest.mark.slow
def test_workers_that_begin_anew_every_epoch_grow_to_one_copy_and_lose_it(tmp_path: Path) -> None:
    story = Story(run(tmp_path, "ram", 4 * VOLUMES, persistent=False), room=1.3 * VOLUMES * EACH)
    assert story.full is None
    assert story.told(4 * VOLUMES - 1, bounded=False).full_in_seconds is None
