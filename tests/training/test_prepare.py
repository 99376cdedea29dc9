"""`engine.training.prepare`: the process that turns files into prepared volumes, whatever happens to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from engine.config.experiment import from_table, resolve_profile
from engine.config.prepared import Prepared
from engine.journals.events import Note, Progress
from engine.journals.journal import read
from engine.journals.records import ResultInfo
from engine.paths import ExperimentPaths, read_json, write_json
from engine.process import descendants, ident
from engine.training.data.cache import find, open_case
from tests.conftest import wait_until, whole_plan
from tests.training.data.make import blob, head, pair, patch, save

SUBJECTS = 6


def lay_out(tmp_path: Path, volumes: Path | None, **tables: object) -> ExperimentPaths:
    """An experiment's folder with its plan, as a launch leaves it."""
    table: dict[str, object] = {
        "data": {"source": "pairs"}, "prepare": {"spacing_mm": 1.0, "shape": [24, 24, 24]},
        "runs": {"folds": 2, "restarts": 1, "stratify": []},
    }
    experiment = from_table(table | tables, "test")
    profile, _ = resolve_profile(experiment, "test", "", {}, {})
    paths = ExperimentPaths(tmp_path / "logs" / "e")
    paths.folder.mkdir(parents=True, exist_ok=True)
    cache = str(tmp_path / "logs" / "_cache")
    write_json(paths.plan, whole_plan(experiment, profile, data_dir=str(volumes or ""), cache_dir=cache))
    return paths


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for i in range(SUBJECTS):
        pair(tmp_path / "data", f"s{i}", seed=i, side=3 + i % 3)
    return tmp_path / "data"


def command(paths: ExperimentPaths) -> list[str]:
    return [sys.executable, "-P", "-m", "engine.training.prepare", str(paths.folder)]


def run(paths: ExperimentPaths) -> tuple[int, str]:
    done = subprocess.run(command(paths), capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stderr


def result(paths: ExperimentPaths) -> ResultInfo:
    info = read_json(paths.prepare_result, ResultInfo)
    assert info is not None
    return info


def prepared(paths: ExperimentPaths) -> Prepared:
    info = read_json(paths.data, Prepared)
    assert info is not None
    return info


def notes(paths: ExperimentPaths) -> list[str]:
    return [record.text for record in read(paths.prepare) if isinstance(record, Note)]


def test_every_volume_is_prepared_and_everything_is_written_down(tmp_path: Path, data: Path) -> None:
    paths = lay_out(tmp_path, data)
    assert run(paths) == (0, "")
    told = prepared(paths)
    assert [s.id for s in told.subjects] == [f"s{i}" for i in range(SUBJECTS)]
    for subject in told.subjects:
        image, label = open_case(Path(subject.folder))
        assert image.shape == (24, 24, 24) and int(label.sum()) == subject.lesion_voxels
        assert subject.image_file == str(data / "images" / f"{subject.id}.nii.gz")
    assert [len(split.train) + len(split.test) for split in told.splits] == [SUBJECTS] * 2
    assert len(told.data_hash) == 16 and told.warnings == ()
    assert result(paths).outcome == "finished"
    steps = [r for r in read(paths.prepare) if isinstance(r, Progress)]
    assert [(r.done, r.total) for r in steps] == [(i, SUBJECTS) for i in range(SUBJECTS + 1)]
    assert {r.text for r in steps[1:]} == {s.id for s in told.subjects}


def test_a_second_preparation_finds_all_in_the_cache_and_says_the_same(tmp_path: Path, data: Path) -> None:
    paths = lay_out(tmp_path, data)
    run(paths)
    before = prepared(paths)
    assert run(paths)[0] == 0
    after = prepared(paths)
    assert (after.subjects, after.splits, after.data_hash) == (before.subjects, before.splits, before.data_hash)
    assert f"{SUBJECTS} volumes are ready, {SUBJECTS} of them from earlier" in notes(paths)


def test_changed_data_change_the_hash_and_are_said_to_have_changed(tmp_path: Path, data: Path) -> None:
    paths = lay_out(tmp_path, data)
    run(paths)
    before = prepared(paths).data_hash
    save(data / "images" / "s3.nii.gz", head(seed=99))
    run(paths)
    assert prepared(paths).data_hash != before
    assert any("the data have changed" in text for text in notes(paths))


def test_phantoms_are_written_on_first_use_and_their_progress_is_told(tmp_path: Path) -> None:
    paths = lay_out(
        tmp_path, None, data={"source": "phantom", "subjects": 4, "shape": [24, 24, 24]},
        prepare={"spacing_mm": 8.0, "shape": [20, 24, 20]},
    )
    assert run(paths) == (0, "")
    told = prepared(paths)
    assert len(told.subjects) == 4 and {s.acquisition for s in told.subjects} == {"space_2x", "space_no_accel"}
    assert len(list((tmp_path / "logs" / "_data").glob("phantom-*/sub-*/ses-1/anat/*_T2w.nii.gz"))) == 4
    names = [r.name for r in read(paths.prepare) if isinstance(r, Progress)]
    assert names == ["phantoms"] * 5 + ["prepare"] * 5


def test_a_cut_lesion_and_a_twin_and_a_small_stratum_are_warned_of(tmp_path: Path, data: Path) -> None:
    mask = np.zeros((20, 24, 18), dtype=np.uint8)
    mask[:, 10:14, 8:10] = 1
    save(data / "labels" / "s0.nii.gz", mask)
    (data / "images" / "s5.nii.gz").write_bytes((data / "images" / "s4.nii.gz").read_bytes())
    paths = lay_out(
        tmp_path, data, prepare={"spacing_mm": 1.0, "shape": [10, 24, 24]},
        runs={"folds": 3, "restarts": 1, "stratify": ["lesion_size"]},
    )
    assert run(paths)[0] == 0
    said = prepared(paths).warnings
    assert said[0] == (
        "lesions cut, partly outside the prepared shape: 1 (s0 by 50%); a larger prepare.shape keeps them whole"
    )
    assert said[1] == "images that are there more than once: 1 (s4 = s5); folds may test on what they learnt from"
    assert "stratified by lesion size in halves only" in said[2] and len(said) == 3
    assert set(said) <= set(notes(paths))


@pytest.mark.parametrize(
    ("spoil", "kind", "said"),
    [
        (lambda d: patch(d / "images" / "s2.nii.gz", 352, b"\xff" * 40), "", ""),
        (lambda d: (d / "images" / "s2.nii.gz").write_bytes((d / "images" / "s2.nii.gz").read_bytes()[:-5]),
         "bad_data", "s2.nii.gz': cut short"),
        (lambda d: save(d / "labels" / "s1.nii.gz", np.zeros((20, 24, 18), np.uint8)), "bad_data", "the mask is empty"),
        (lambda d: save(d / "labels" / "s1.nii.gz", blob((20, 24, 10))), "bad_data", "20 × 24 × 10 voxels but its image"),
        (lambda d: (d / "labels" / "s4.nii.gz").unlink(), "bad_data", "1 image ('images/s4.nii.gz') without a label"),
        (lambda d: [p.unlink() for p in d.rglob("*.gz")], "bad_data", "holds no .nii"),
    ],
)
def test_bad_data_end_with_2_the_file_and_the_remedy_and_nothing_half_done(
    tmp_path: Path, data: Path, spoil, kind: str, said: str
) -> None:
    spoil(data)
    paths = lay_out(tmp_path, data)
    code, error = run(paths)
    if not kind:
        assert code == 0
        return
    assert code == 2 and said in error and "Traceback" not in error
    assert (result(paths).outcome, result(paths).kind) == ("failed", kind)
    assert said in result(paths).error and said in notes(paths)[-1]
    assert not paths.data.exists()
    assert not list((tmp_path / "logs" / "_cache").glob("*.tmp.*"))


def test_too_few_subjects_for_the_folds_end_with_2(tmp_path: Path, data: Path) -> None:
    paths = lay_out(tmp_path, data, runs={"folds": 7, "restarts": 1})
    code, error = run(paths)
    assert code == 2 and "7 folds need at least 7 subjects, not 6" in error


def test_volumes_that_will_not_fit_on_the_disk_are_refused_before_any_is_written(tmp_path: Path, data: Path) -> None:
    paths = lay_out(tmp_path, data, prepare={"spacing_mm": 1.0, "shape": [16384, 16384, 16384]})
    code, error = run(paths)
    assert code == 2 and "need 131941.4 GB" in error and "STEPTOP_CACHE" in error
    assert result(paths).kind == "disk_full"
    assert not list((tmp_path / "logs" / "_cache").glob("[0-9a-f]*"))


def test_no_plan_and_no_argument_are_usage_errors(tmp_path: Path) -> None:
    assert run(ExperimentPaths(tmp_path))[0] == 2
    assert subprocess.run([*command(ExperimentPaths(tmp_path))[:-1]], capture_output=True, check=False).returncode == 2


# ---------------------------------------------------------------- stopped, killed, raced


def start_slow(tmp_path: Path, count: int = 40) -> tuple[ExperimentPaths, subprocess.Popen[bytes]]:
    """A preparation that takes seconds, under way: two volumes are done."""
    for i in range(count):
        pair(tmp_path / "data", f"s{i:02}", seed=i, shape=(72, 72, 72), spacing=(1.1, 1.2, 1.3))
    paths = lay_out(tmp_path, tmp_path / "data", prepare={"spacing_mm": 1.0, "shape": [96, 96, 96]})
    process = subprocess.Popen(command(paths), stderr=subprocess.PIPE)
    wait_until(lambda: done_so_far(paths) >= 2, 60, "two prepared volumes")
    return paths, process


def done_so_far(paths: ExperimentPaths) -> int:
    return max((r.done for r in read(paths.prepare) if isinstance(r, Progress) and r.name == "prepare"), default=0)


def cases(tmp_path: Path) -> list[str]:
    return [p.name for p in (tmp_path / "logs" / "_cache").iterdir() if len(p.name) == 64]


def test_a_sigterm_stops_at_the_next_volume_with_3_and_keeps_what_is_done(tmp_path: Path) -> None:
    paths, process = start_slow(tmp_path)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 3 and error == b""
    assert result(paths).outcome == "stopped" and not paths.data.exists()
    kept = cases(tmp_path)
    assert 2 <= len(kept) < 40
    assert all(find(tmp_path / "logs" / "_cache", name) for name in kept)
    assert not list((tmp_path / "logs" / "_cache").glob("*.tmp.*"))


def test_a_killed_preparation_takes_its_helpers_along_and_the_next_one_resumes(tmp_path: Path) -> None:
    paths, process = start_slow(tmp_path)
    helpers = [who for pid in descendants(process.pid) if (who := ident(pid))]
    if len(os.sched_getaffinity(0)) > 1:
        assert helpers
    process.kill()
    process.communicate(timeout=60)
    wait_until(lambda: not any(ident(who.pid) == who for who in helpers), 10, "the helpers' end")
    kept = set(cases(tmp_path))
    assert not paths.prepare_result.exists() and not paths.data.exists()
    times = {name: (tmp_path / "logs" / "_cache" / name).stat().st_mtime_ns for name in kept}
    assert run(paths) == (0, "")
    assert len(prepared(paths).subjects) == 40 and len(cases(tmp_path)) == 40
    assert times == {name: (tmp_path / "logs" / "_cache" / name).stat().st_mtime_ns for name in kept}
    assert not list((tmp_path / "logs" / "_cache").glob("*.tmp.*"))


def test_two_preparations_at_once_share_the_work_and_agree(tmp_path: Path) -> None:
    paths, process = start_slow(tmp_path, 12)
    other = ExperimentPaths(tmp_path / "logs" / "f")
    other.folder.mkdir()
    other.plan.write_bytes(paths.plan.read_bytes())
    assert run(other) == (0, "")
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert prepared(paths).data_hash == prepared(other).data_hash
    assert len(cases(tmp_path)) == 12
    assert not list((tmp_path / "logs" / "_cache").glob("*.tmp.*"))


def test_a_full_disk_half_way_is_said_to_be_one_and_leaves_nothing_half(tmp_path: Path, data: Path) -> None:
    """RLIMIT_FSIZE stands for the disk: an array does not fit any more."""
    paths = lay_out(tmp_path, data, prepare={"spacing_mm": 1.0, "shape": [64, 64, 64]})
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000));"
        "from engine.training.prepare import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(paths.folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert result(paths).kind == "disk_full" and "free some space" in result(paths).error
    assert cases(tmp_path) == [] and not list((tmp_path / "logs" / "_cache").glob("*.tmp.*"))


def test_preparing_takes_no_torch_and_little_time_when_nothing_is_to_do(tmp_path: Path, data: Path) -> None:
    paths = lay_out(tmp_path, data)
    script = (
        "import sys; from engine.training.prepare import main; code = main(sys.argv[1:]);"
        "sys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(paths.folder)], timeout=60, check=False)
    assert done.returncode == 0
    assert time.time() - result(paths).at < 60
