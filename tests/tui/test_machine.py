"""What the machine panel says, of now and of readings that are over."""

from __future__ import annotations

import msgspec

from engine.journals.events import Sample, Worker
from engine.live.state import ExperimentState
from tests.tui.conftest import ended, view
from tests.tui.test_lines import KILLED, Recorded, roles_of, texts
from tests.tui.test_screens import AppOver, shown
from tui.widgets.machine import machine_lines
from tui.widgets.panel import Panel


def test_the_machine_shows_gpu_processors_memory_workers_and_disk(arc: ExperimentState) -> None:
    lines = texts(machine_lines(view(arc), 56, 7))
    assert [line.split()[0] for line in lines] == ["GPU", "VRAM", "CPU", "RAM", "workers", "disk"]
    assert "W" in lines[0] and "°C" in lines[0]
    assert "67.2/80 GiB" in lines[1]
    assert "↗ +" in lines[4] and "full in" in lines[4]


def test_without_nvml_there_is_a_dash_and_the_reason(recorded: Recorded) -> None:
    lines = texts(machine_lines(view(recorded("quickstart", 1.5)), 80, 7))
    assert lines[0] == "GPU      –  no NVIDIA driver: libnvidia-ml.so.1 was not found"


def test_memory_that_is_nearly_gone_is_red(arc: ExperimentState) -> None:
    last = arc.samples[-1]
    full = msgspec.structs.replace(last, ram_available=last.ram_total // 50, shm_used=last.shm_total)
    state = msgspec.structs.replace(arc, samples=(*arc.samples[:-1], full))
    lines = machine_lines(view(state), 56, 7)
    assert roles_of(lines, "167/170 GiB") == {"alarm"}
    assert "alarm" in roles_of(lines, "100 %")


def test_where_there_is_room_every_process_is_listed(recorded: Recorded) -> None:
    lines = texts(machine_lines(view(recorded("compute", 0.25)), 96, 14))
    head = next(i for i, line in enumerate(lines) if line.startswith("process"))
    assert lines[head + 1].split()[0] == "trainer"
    assert sum(line.startswith("worker ") for line in lines) == 4


def test_missing_readings_are_dashes(arc: ExperimentState) -> None:
    bare = Sample(cores=4, cpu=1.0, workers=(Worker(pid=1, role="worker", rss=5),), gpus=(), gpu_reason="")
    state = msgspec.structs.replace(arc, samples=(bare,))
    for width, height in ((56, 7), (76, 3), (96, 14), (20, 2)):
        assert texts(machine_lines(view(state), width, height))
    assert machine_lines(view(msgspec.structs.replace(arc, samples=())), 56, 7) == [[("no reading yet", "label")]]


# ---------------------------------------------------------------- readings that are over


def test_after_the_end_the_processes_are_dashes_and_the_rest_is_not_bright(arc: ExperimentState) -> None:
    over = ended(arc, "failed", KILLED, "run 1 failed")
    lines = machine_lines(view(over), 96, 14)
    said = texts(lines)
    assert "workers  –" in said
    assert any(line.startswith("CPU") and "ours – of 12 cores" in line for line in said)
    assert not any("process" in line or "full in" in line for line in said)
    assert not {role for line in lines for _, role in line} & {"number", "bar", "accent"}


def test_a_sampler_that_fell_silent_is_not_believed(arc: ExperimentState) -> None:
    last = arc.samples[-1].t
    fresh = msgspec.structs.replace(arc, now=last + 9)
    silent = msgspec.structs.replace(arc, now=last + 11)
    assert "workers  –" not in texts(machine_lines(view(fresh), 56, 7))
    for width, height in ((56, 7), (76, 3)):
        assert "workers  –" in texts(machine_lines(view(silent), width, height))


def test_memory_that_was_full_at_the_end_stays_red(arc: ExperimentState) -> None:
    last = arc.samples[-1]
    full = msgspec.structs.replace(last, ram_available=last.ram_total // 50)
    state = msgspec.structs.replace(arc, samples=(*arc.samples[:-1], full))
    lines = machine_lines(view(ended(state, "failed", KILLED, "run 1 failed")), 56, 7)
    assert roles_of(lines, "167/170 GiB") == {"alarm"}


async def test_the_title_says_of_when_the_reading_is(app_over: AppOver, arc: ExperimentState) -> None:
    for state, title in (
        (arc, "4 Machine"),
        (msgspec.structs.replace(arc, now=arc.now + 60), "4 Machine  at 05:08"),
        (ended(arc, "stopped", KILLED, "stopped as asked"), "4 Machine  at 05:08"),
    ):
        async with app_over(state).run_test(size=(120, 40)) as pilot:
            app = await shown(pilot)
            assert str(app.screen.query_one("#machine", Panel)._border_title) == title


def test_memory_that_would_be_full_after_the_end_is_no_alarm(recorded: Recorded) -> None:
    """Full in seven hours means nothing to a training that ends in a minute."""
    state = recorded("arc", 0.25)
    now = view(state)
    soon = now.trend.__class__(per_worker_bytes=now.trend.per_worker_bytes, bytes_per_hour=5e9, full_in_seconds=25_200.0)
    ends = msgspec.structs.replace(now.forecast.experiment, low=50.0, seconds=60.0, high=70.0)
    early = now._replace(trend=soon, forecast=msgspec.structs.replace(now.forecast, experiment=ends))
    lines = machine_lines(early, 76, 7)
    assert roles_of(lines, "7h 00m") == {"text"}
    assert any("full in 7h 00m, after its end" in line for line in texts(lines))
    assert roles_of(machine_lines(now._replace(trend=soon), 76, 7), "7h 00m") == {"alarm"}
