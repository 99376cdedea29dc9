"""How long a trainer that was asked to stop may take: a step is finished however long steps are."""

from __future__ import annotations

import pytest

from engine.live.watch import Watch
from engine.runs import control
from tests.conftest import Laboratory, fake_plan, wait_until


def test_a_step_longer_than_the_usual_patience_is_still_finished(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_STEPS", "100")
    monkeypatch.setenv("FAKE_STEP_SECONDS", "2")
    monkeypatch.setenv("STEPTOP_GRACE_SECONDS", "0.2")
    paths = lab.launch(fake_plan(folds=2, restarts=1))
    watch = Watch(paths.folder)
    wait_until(lambda: (run := watch.poll().run) is not None and run.step >= 1, what="a step")
    control.request(paths, "stop_now")
    wait_until(lambda: watch.poll().phase == "stopped", what="the stop")
    state = watch.poll()
    assert state.runs[0].verdict is not None
    assert state.runs[0].verdict.kind == "user_stop"
    assert state.runs[0].step == 2
