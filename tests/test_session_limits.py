"""Sessions: what a platform allows, what fits, what Slurm says, and a limit of one's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from engine.diagnosis.consequences import Range
from engine.errors import UsageError
from engine.whatif import session_limits as limits
from engine.whatif.session_limits import Session, fitting

HOUR = 3600.0
COLAB = Session(name="Colab free", hours=12, least_hours=4, gpus=("T4",))
PARTITIONS = """\
PartitionName=gpu AllowGroups=ALL MaxTime=2-00:00:00 MaxNodes=4 State=UP
PartitionName=long AllowGroups=ALL MaxTime=UNLIMITED State=UP
PartitionName=short MaxTime=01:30:00 State=UP
Something that is no partition
"""


def span(low: float, value: float, high: float) -> Range:
    return Range(value * HOUR, low * HOUR, high * HOUR, "")


def test_every_session_has_a_source_and_a_date() -> None:
    found = limits.sessions()
    assert {"Colab free", "Colab Pro", "Colab Pro+", "Kaggle"} <= {one.name for one in found}
    assert all(one.source and one.as_of for one in found if not one.name.startswith(("Slurm", "this")))


@pytest.mark.parametrize(
    ("run", "experiment", "words", "count"),
    [
        (span(1, 2, 3), span(2, 3, 3.9), "all of it fits", 1),
        (span(1, 2, 3), span(20, 30, 40), "a run fits; all of it 10 sessions", 10),
        (span(3, 5, 7), span(20, 30, 40), "a run may not fit; 10 sessions with resume", 10),
        (span(13, 15, 17), span(13, 15, 17), "a run is too long; 5 sessions with resume", 5),
    ],
)
def test_what_fits_is_said_from_the_longest_it_may_take(run: Range, experiment: Range, words: str, count: int) -> None:
    found = fitting(COLAB, "T4", run, experiment)
    assert (found.text, found.sessions) == (words, count)


def test_a_gpu_that_is_not_offered_fits_nowhere() -> None:
    assert fitting(COLAB, "A100-40 SXM", span(1, 1, 1), span(1, 1, 1)).run == "not offered"


def test_a_device_that_is_not_in_the_sheet_is_offered_by_no_platform() -> None:
    assert fitting(COLAB, "", span(1, 1, 1), span(1, 1, 1)).run == "not offered"
    assert fitting(Session(name="mine", hours=2), "", span(1, 1, 1), span(1, 1, 1)).run == "fits"


def test_without_a_time_nothing_is_said() -> None:
    found = fitting(COLAB, "T4", Range(), Range())
    assert (found.run, found.sessions, found.text) == ("unknown", None, "not known")


@given(st.floats(0.01, 500), st.floats(1, 2), st.floats(1, 2))
def test_a_longer_session_never_takes_more_of_them(low: float, wider: float, longer: float) -> None:
    time_ = span(low, low * wider, low * wider * wider)
    short, long = Session(name="a", hours=12), Session(name="b", hours=12 * longer)
    assert (fitting(long, "", time_, time_).sessions or 0) <= (fitting(short, "", time_, time_).sessions or 0)


def test_a_limit_of_ones_own() -> None:
    assert limits.chosen("90m", ()).hours == pytest.approx(1.5)
    assert limits.chosen("colab FREE", limits.sessions()).name == "Colab free"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Colab fre", "no session called 'Colab fre'; did you mean 'Colab free'.*or a limit of your own, such as 12h"),
        ("12", "'12' is no duration: a number above 0 with its unit"),
        ("0h", "'0h' is no duration"),
        ("-3h", "'-3h' is no duration"),
    ],
)
def test_a_session_that_is_none_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        limits.chosen(text, limits.sessions())


def test_slurm_says_its_partitions_and_the_jobs_end(tmp_path: Path) -> None:
    assert [(one.name, one.hours) for one in limits.partitions(PARTITIONS)] == [("Slurm gpu", 48.0), ("Slurm short", 1.5)]
    tool = tmp_path / "scontrol"
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{PARTITIONS}END\n")
    tool.chmod(0o755)
    environ = {"SLURM_JOB_END_TIME": "10000", "SLURM_JOB_PARTITION": "gpu", "PATH": f"{tmp_path}{os.pathsep}/usr/bin:/bin"}
    found = limits.slurm(environ, 6400.0)
    assert [one.name for one in found] == ["this Slurm job", "Slurm gpu", "Slurm short"]
    assert found[0].hours == pytest.approx(1.0)


def test_a_scontrol_that_fails_is_no_scontrol(tmp_path: Path) -> None:
    (tmp_path / "scontrol").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "scontrol").chmod(0o755)
    assert limits.slurm({"PATH": str(tmp_path), "SLURM_JOB_END_TIME": "soon"}, 0.0) == ()


def test_a_session_names_gpus_as_their_driver_does(tmp_path: Path) -> None:
    path = tmp_path / "hardware.toml"
    row = '[[session]]\nname = "Ours"\nhours = 9\ngpus = ["NVIDIA GeForce RTX 4090"]\nsource = "us"\nas_of = "2026-11"\n'
    path.write_text(row)
    assert next(one for one in limits.sessions(path) if one.name == "Ours").offers("RTX 4090")


def test_sessions_of_ones_own_win(tmp_path: Path) -> None:
    path = tmp_path / "hardware.toml"
    path.write_text('[[session]]\nname = "Kaggle"\nhours = 9\nsource = "us"\nas_of = "2026-11"\n')
    assert next(one for one in limits.sessions(path) if one.name == "Kaggle").hours == 9


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("hours = -1", "line 3: hours = -1: it is a number above 0"),
        ("hours = 4\nleast_hours = 5", "line 4: least_hours of 5 is more than hours"),
        ('hours = 4\nfree = "yes"', "line 4: free is true or false"),
        ("hour = 4", "no field called 'hour' in .*line 3; did you mean 'hours'"),
        ('hours = 4\ngpus = ["RTX 409"]', "no GPU called 'RTX 409' in .*line 4; did you mean 'RTX 4090'"),
        ("note = 'x'", "line 1: session 'Ours' lacks hours"),
    ],
)
def test_a_session_row_that_is_wrong_is_refused_with_file_and_line(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "hardware.toml"
    path.write_text(f'[[session]]\nname = "Ours"\n{line}\nsource = "us"\nas_of = "2026-11"\n')
    with pytest.raises(UsageError, match=said):
        limits.sessions(path)
