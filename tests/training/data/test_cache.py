"""The cache holds whole cases or none, whoever is killed or races."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from engine.config.tables import Prepare
from engine.errors import DataError
from engine.training.data import cache
from engine.training.data.cases import prepare_case
from engine.training.data.conform import Conformed
from engine.training.data.discover import Case
from tests.training.data.make import head, pair, save

PREPARE = Prepare(spacing_mm=1.0, shape=(24, 24, 24))


@pytest.fixture
def case(tmp_path: Path) -> Case:
    image, label = pair(tmp_path / "data", "a")
    old = time.time() - 60
    for path in (image, label):
        os.utime(path, (old, old))
    return Case(id="a", image=image, label=label)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def record(key: str = "k", shape: tuple[int, int, int] = (4, 4, 4)) -> cache.CaseRecord:
    return cache.CaseRecord(
        key=key, shape=shape, lesion_voxels=1, lesion_mm3=1.0, source_shape=shape, source_spacing_mm=(1.0, 1.0, 1.0),
        source_orientation="RAS", image_sha256="i", label_sha256="l",
    )


def arrays(value: float = 1.0) -> Conformed:
    return Conformed(np.full((4, 4, 4), value, np.float32), np.ones((4, 4, 4), np.uint8), 1.0)


def test_a_case_is_prepared_once_and_found_again(case: Case, folder: Path) -> None:
    first, again = prepare_case(case, folder, PREPARE), prepare_case(case, folder, PREPARE)
    assert (first.reused, again.reused) == (False, True)
    assert first.record == again.record
    image, label = cache.open_case(folder / first.record.key)
    assert isinstance(image, np.memmap) and not image.flags.writeable and not label.flags.writeable
    assert int(label.sum()) == first.record.lesion_voxels == 125


def test_only_the_owner_can_read_what_is_written(case: Case, folder: Path) -> None:
    done = prepare_case(case, folder, PREPARE)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder / done.record.key).iterdir()}
    assert modes == {cache.IMAGE: 0o600, cache.LABEL: 0o600, cache.RECORD: 0o600}
    assert (folder / done.record.key).stat().st_mode & 0o777 == 0o700


def test_the_key_is_of_content_and_settings_not_of_names(case: Case, folder: Path, tmp_path: Path) -> None:
    key = prepare_case(case, folder, PREPARE).record.key
    moved = Case(id="b", image=tmp_path / "other.nii.gz", label=case.label)
    moved.image.write_bytes(case.image.read_bytes())
    assert prepare_case(moved, folder, PREPARE).record.key == key
    others = {
        prepare_case(case, folder, settings).record.key
        for settings in (
            Prepare(spacing_mm=1.5, shape=(24, 24, 24)), Prepare(spacing_mm=1.0, shape=(24, 24, 26)),
            Prepare(spacing_mm=1.0, shape=(24, 24, 24), intensity="none"),
            Prepare(spacing_mm=1.0, shape=(24, 24, 24), orientation="LPS"),
        )
    }
    assert len(others) == 4 and key not in others


def test_a_file_changed_under_its_name_is_prepared_anew(case: Case, folder: Path) -> None:
    before = prepare_case(case, folder, PREPARE)
    assert cache.known_digest(folder, case.image)
    save(case.image, head(seed=9))
    after = prepare_case(case, folder, PREPARE)
    assert not after.reused and after.record.key != before.record.key


def test_the_index_spares_reading_a_file_again(case: Case, folder: Path) -> None:
    digest = cache.learn_digest(folder, case.image)
    assert cache.known_digest(folder, case.image) == digest
    assert digest == cache.digest(case.image)


def test_the_index_does_not_trust_a_file_that_was_written_just_now(folder: Path, tmp_path: Path) -> None:
    """Its times are too coarse: a second change in the same instant would not show."""
    fresh = tmp_path / "fresh.nii.gz"
    fresh.write_bytes(b"x")
    cache.learn_digest(folder, fresh)
    assert cache.known_digest(folder, fresh) is None


@pytest.mark.parametrize("name", [cache.IMAGE, cache.LABEL, cache.RECORD])
@pytest.mark.parametrize("damage", ["gone", "cut", "other"])
def test_a_case_that_is_not_whole_is_not_used_and_is_made_again(
    case: Case, folder: Path, name: str, damage: str
) -> None:
    key = prepare_case(case, folder, PREPARE).record.key
    path = folder / key / name
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-7])
    else:
        path.write_bytes(b"{}")
    assert cache.find(folder, key) is None
    assert not prepare_case(case, folder, PREPARE).reused
    assert cache.find(folder, key) is not None
    assert not list(folder.glob("*.tmp.*"))


def test_of_two_who_write_one_case_the_first_wins(folder: Path) -> None:
    cache.store(folder, record(), arrays(1.0))
    found = cache.store(folder, record(), arrays(2.0))
    assert found.key == "k"
    assert cache.open_case(folder / "k")[0].max() == 1.0
    assert [path.name for path in folder.iterdir()] == ["k"]


def _prepare(arguments: tuple[Case, Path]) -> str:
    return prepare_case(*arguments, PREPARE).record.key


def test_many_processes_may_prepare_one_case_at_once(case: Case, folder: Path) -> None:
    with ProcessPoolExecutor(6, mp_context=get_context("spawn")) as pool:
        keys = set(pool.map(_prepare, [(case, folder)] * 12))
    assert len(keys) == 1
    assert cache.find(folder, keys.pop()) is not None
    assert not list(folder.glob("*.tmp.*"))


def test_leftovers_of_the_dead_are_swept_and_work_of_the_living_is_spared(folder: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    own = cache.temporary_name("mine")
    ticks = cache.start_ticks(child.pid)
    theirs = f"theirs.tmp.{own.split('.')[2]}.{child.pid}.{ticks}.aa"
    reused = f"reused.tmp.{own.split('.')[2]}.{child.pid}.{int(ticks or 0) - 1}.aa"
    foreign, ancient = "foreign.tmp.ffffffff.1.1.aa", "ancient.tmp.ffffffff.1.1.aa"
    for name in (own, theirs, reused, foreign, ancient):
        (folder / name).mkdir()
        (folder / name / cache.IMAGE).write_bytes(b"half")
    os.utime(folder / ancient, (0, 0))
    assert cache.clean(folder) == 2
    assert sorted(path.name for path in folder.iterdir()) == sorted((own, theirs, foreign))
    child.communicate(b"\n")
    assert cache.clean(folder) == 1 and not (folder / theirs).exists()


def test_too_little_room_is_said_before_anything_is_written(folder: Path) -> None:
    with pytest.raises(cache.DiskFull, match=r"need 1000000000\.0 GB, .* are free there; free some space, or set STEPTOP"):
        cache.check_room(folder / "not" / "yet", 10**18)
    cache.check_room(folder, 1)


def test_a_case_that_is_gone_says_so_when_it_is_opened(folder: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read .* prepare again"):
        cache.open_case(folder / "none")
    cache.store(folder, record(), arrays())
    np.save(folder / "k" / cache.IMAGE, np.zeros((4, 4, 4)))
    with pytest.raises(DataError, match="not a prepared volume"):
        cache.open_case(folder / "k")


def test_a_pickle_in_place_of_an_array_is_never_loaded(folder: Path) -> None:
    cache.store(folder, record(), arrays())
    np.save(folder / "k" / cache.IMAGE, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert cache.find(folder, "k") is None
    with pytest.raises(DataError, match="cannot be read"):
        cache.open_case(folder / "k")
