"""A test of profiles that somebody stops, for real: what it says of what it measured."""

from __future__ import annotations

from engine.counts import plural
from engine.live.watch import Watch
from engine.runs import control
from engine.visit_status import results_of
from tests.conftest import Laboratory, fake_plan, wait_until
from tests.engine.test_phases import test_of, visited


def test_a_stopped_test_says_how_many_phases_it_measured(lab: Laboratory) -> None:
    paths = lab.launch(test_of(fake_plan(), {}, {"num_workers": 2}, steps=5000))
    wait_until(lambda: any(not visit.repeated for visit in visited(paths)), 60, "a first visit that counts")
    control.request(paths, "stop_now")
    wait_until(lambda: Watch(paths.folder).quick().ended, 20, "the end")
    state = Watch(paths.folder).poll()
    assert state.ended is not None
    measured = sum(one.measured is not None for one in results_of(state))
    assert measured >= 1
    assert state.ended.text.startswith(f"stopped as asked: {plural(measured, 'phase')} measured")
    assert "running" not in [one.verdict for one in results_of(state)]
