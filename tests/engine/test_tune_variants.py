"""`steptop tune` of an experiment with variants: one of them is measured, and everywhere it is said which."""

from __future__ import annotations

import msgspec

from engine.config.plan import Plan
from engine.config.run_keys import runs_of
from engine.phase import tuned, tuning
from tests.conftest import Laboratory, fake_plan
from tests.engine.test_phases import finish, test_of as tuner_of
from tests.engine.test_variants import experiment


def ablation(variant: str) -> Plan:
    """What `steptop tune --variants VARIANT` starts."""
    plan = fake_plan(folds=1, restarts=1)
    made = msgspec.structs.replace(plan.experiment, variants=experiment().variants)
    runs = runs_of(made, variants=(variant,))
    return tuner_of(msgspec.structs.replace(plan, experiment=made, runs=runs), {}, kind="tune")


def test_the_answer_names_its_variant_wherever_it_is_told(lab: Laboratory) -> None:
    paths, ended = finish(lab, ablation("mkdc"))
    assert ended.outcome == "finished", ended.text
    said = "Measured with variant mkdc; `--variants NAME` measures another"
    assert said in ended.text
    answer = tuning.read_answer(paths)
    assert answer is not None and answer.why.endswith(f"{said}.")
    (kept,) = tuned.entries(lab.logs)
    assert kept.variant == "mkdc" and " with variant mkdc: " in kept.text


def test_without_variants_nothing_is_said_of_them() -> None:
    plan = tuner_of(fake_plan(), {}, kind="tune")
    assert tuning.measured_with(plan) == ""
    assert tuning.measured_with(ablation("baseline")).startswith("Measured with variant baseline;")
