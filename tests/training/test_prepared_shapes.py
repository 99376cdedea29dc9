"""Preparation writes down how large each volume is: whoever says what scoring it takes cannot read the volumes."""

from __future__ import annotations

from pathlib import Path

from engine.config import windows
from engine.eta.work import windows_of
from tests.training.test_prepare import prepared
from tests.training.test_vesuvius_run import TINY, launched
from tests.training.world import plan_of


def test_volumes_that_keep_their_own_size_count_by_the_windows_they_take(tmp_path: Path) -> None:
    paths = launched(tmp_path, TINY)
    found = prepared(paths)
    assert {subject.shape for subject in found.subjects} == {(16, 16, 16)}
    assert windows_of(plan_of(paths), found) == windows.count((16, 16, 16), (8, 8, 8)) == 27
