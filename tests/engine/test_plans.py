"""Plans of phases: files with clear errors, and the tests that are made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config import catalog
from engine.config.profile import defaults
from engine.errors import UsageError
from engine.journals.events import PhaseEnded
from engine.phase import phases, plans, trials
from engine.runs import launch
from tests.tested import visit


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def request(logs: Path, **more: object) -> launch.Request:
    return launch.Request(experiment="quickstart", logs=logs, **more)  # type: ignore[arg-type]


def test_every_plan_that_ships_is_a_test_of_quickstart(tmp_path: Path) -> None:
    names = list(catalog.files(plans.FOLDER))
    assert {"workers-then-batch", "batch-then-workers"} <= set(names)
    for name in names:
        title, wanted = plans.named(name)
        made = trials.plan_for(request(tmp_path), "phases", wanted)
        assert title
        assert made.test is not None
        assert len(made.test.phases) == len(wanted) >= 3
        assert all(phase.why for phase in made.test.phases)


def test_without_a_plan_every_profile_is_tried_once(tmp_path: Path) -> None:
    wanted = plans.of_profiles("conservative")
    made = trials.plan_for(request(tmp_path), "phases", wanted)
    assert made.test is not None
    assert made.test.phases[0].name == "conservative"
    knobs = [tuple(sorted(phase.knobs.items())) for phase in made.test.phases]
    assert len(knobs) == len(set(knobs)), "profiles that come to the same on this machine are measured once"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[phases]]\nprofile = "moderat"\n', "no profile called 'moderat' in .*line 2; did you mean 'moderate'"),
        ('title = "x"\n\n[[phases]]\nname = "a"\n', "line 3: a phase names a profile"),
        ('title = "x"\n', "one \\[\\[phases\\]\\] table for each phase"),
        ('titel = "x"\n[[phases]]\nprofile = "moderate"\n', "no field called 'titel' in .*line 1; did you mean 'title'"),
        ('[[phases]]\nprofile = "moderate"\nworkers = 2\n', "no field called 'workers'"),
        (
            '[[phases]]\nname = "a"\nprofile = "moderate"\n[[phases]]\nprofile = "aggressive"\nname = "a"\n',
            r"line 6: two phases are called 'a' \(the other: line 2\)",
        ),
        (
            'title = "x"\n[[phases]]\nname = "a"\nprofile = "moderate"\n\n[[ phases ]] # the next\nname = "b"\nwhy = "x"\n'
            'profile = "nosuch"\n',
            "no profile called 'nosuch' in .*line 9",
        ),
        ('[[phases]]\nname = "a"\nprofile = "nosuch.toml"\n', "line 3: there is no profile"),
        ('[[phases]]\nprofile = "moderate"\nwhy = 3\n', "line 3: why is a text"),
        ('[[phases]]\nname = "a"\nprofil = "moderate"\n', "no field called 'profil' in .*line 3"),
        ('phases = [{profile = "nosuch"}]\n', "no profile called 'nosuch' in .*plan.toml"),
        ("phases = 3\n", "one \\[\\[phases\\]\\] table"),
        ("[[phases]\n", "not valid TOML"),
    ],
)
def test_what_is_wrong_with_a_plan_is_said_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        plans.load(write(tmp_path / "plan.toml", text))


@pytest.mark.parametrize(
    ("knob", "said"),
    [("num_worker = 2", "num_workers"), ('num_workers = "many"', "num_workers"), ("prefetch_factor = 0", "1 to 64")],
)
def test_a_phases_knobs_are_checked_like_a_profiles(tmp_path: Path, knob: str, said: str) -> None:
    _, wanted = plans.load(write(tmp_path / "plan.toml", f'[[phases]]\nname = "a"\n[phases.knobs]\n{knob}\n'))
    with pytest.raises(UsageError, match=said) as refused:
        trials.plan_for(request(tmp_path), "phases", wanted)
    assert "plan.toml, line 4" in str(refused.value)


def test_a_test_has_a_folder_of_its_own_and_never_a_trainings(tmp_path: Path) -> None:
    (tmp_path / "quickstart-bench").mkdir()
    (tmp_path / "quickstart-bench" / "plan.json").write_text("{}")
    made = trials.plan_for(request(tmp_path), "bench")
    assert made.name == "quickstart-bench"
    assert trials._free(tmp_path, made.name, asked=False).name == "quickstart-bench-2"
    with pytest.raises(UsageError, match="is there already"):
        trials._free(tmp_path, "quickstart-bench", asked=True)


@pytest.mark.parametrize(("more", "said"), [({"steps": 2}, "4 or more"), ({"steps": 0}, "--steps 0: 4 or more"), ({"steps": -3}, "4 or more"), ({"batch_sizes": (0,)}, "1 to 1024")])
def test_figures_out_of_range_are_refused(tmp_path: Path, more: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        trials.plan_for(request(tmp_path), "tune", **more)  # type: ignore[arg-type]


def test_what_was_measured_preparing_each_sample_anew_says_nothing_of_reading_it_prepared() -> None:
    knobs = defaults() | {"num_workers": 1, "cache": "none"}
    done = [record for record in visit(0, 0, "anew", knobs, 0.0) if isinstance(record, PhaseEnded)]
    assert phases.expected(done, knobs | {"num_workers": 2})[2].startswith("modelled from")
    assert phases.expected(done, knobs | {"cache": "disk"}) == (None, None, "")
