"""What the launch dialog knows: its fields, what can be done with an experiment, and how that is said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple, TypedDict

from engine.config import catalog
from engine.config.knob import Value
from engine.config.plan import Plan, Test
from engine.config.run_keys import dimensions
from engine.errors import UsageError
from engine.eta.forecast import Forecast
from engine.journals.limit_events import OnFinish
from engine.limit import limits
from engine.phase import plans, trials
from engine.runs import launch
from engine.runs.launch import Request
from engine.runs.queue import Order
from tui import limit_options, settings
from tui.format import duration, margin, plural

# What can be done with an experiment: its name in the list, the kind of test ('' trains), and the plan of phases.
TRAIN = "train it"


class Task(NamedTuple):
    """One line of the list of what to do."""

    title: str
    kind: Literal["", "bench", "phases", "tune"] = ""
    plan: str = ""


class Preset(NamedTuple):
    """What the dialog begins with. `settings`: knobs on top of the profile; `task`: the title of a Task; `fields`:
    texts of FIELDS."""

    experiment: str
    profile: str = ""
    data: str = ""
    device: str = ""
    task: str = TRAIN
    settings: Mapping[str, Value] = {}
    fields: Mapping[str, str] = {}


class Field(NamedTuple):
    """One line of text in the dialog."""

    name: str
    label: str
    hint: str


FIELDS = (
    Field("data", "data", "a BIDS-like tree, or a folder of image/label NIfTI; quickstart makes its own"),
    Field("variants", "variants", "all; or some"),
    Field("folds", "folds", "all; or some, as 0,2"),
    Field("restarts", "restarts", "as the experiment says"),
    Field("epochs", "epochs", "as the experiment says"),
    Field("device", "devices", "auto; cpu, a GPU's number, or several: 0,1 trains a run on each"),
    Field("slots", "slots", "a run on each device; 2: two side by side, each with its share of cores and memory"),
    Field("retries", "retries", "none; how often a run that failed is tried again, after the others"),
    Field("stop_after_runs", "stop after", "all runs; or a number of runs, as 1"),
    Field("limit", "limit", "none; 12h, 2026-11-22T08:00, 25USD at 1.89USD: it stops in time, with a checkpoint"),
    Field("steps", "steps", "of a test, for each phase: as many as the precision needs"),
    Field("name", "name", "the folder's name, if another than the experiment's"),
)
# How runs are put into order, and in words.
ORDERS: dict[Order, str] = {
    "folds": "all restarts of a fold, then the next fold's",
    "restarts": "one restart of every fold first: a figure for each soonest",
}


def request_from(values: Mapping[str, str], logs: Path) -> Request:
    """The launch that was typed. Raises UsageError naming the field."""
    folds = None
    if values.get("folds"):
        try:
            folds = tuple(int(word) for word in values["folds"].replace(" ", ",").split(",") if word)
        except ValueError:
            raise UsageError(f"folds {values['folds']!r}: write fold numbers with commas, as 0,2") from None
    wanted = values.get("variants", "").replace(" ", ",").split(",")
    retries = number_of(values, "retries") or 0
    if retries < 0:
        raise UsageError(f"retries {retries}: it is 0 or more")
    return Request(
        experiment=values["experiment"],
        logs=logs,
        profile=values.get("profile") or None,
        name=values.get("name") or None,
        data=Path(values["data"]) if values.get("data") else None,
        folds=folds,
        restarts=number_of(values, "restarts"),
        variants=tuple(word for word in wanted if word) or None,
        epochs=number_of(values, "epochs"),
        device=values.get("device") or None,
        slots=number_of(values, "slots"),
        order="restarts" if values.get("order") == "restarts" else None,
        retries=retries,
        stop_after_runs=number_of(values, "stop_after_runs") or 0,
        limits=(limits.typed(values["limit"]) if values.get("limit") else None) or limits.NOTHING,
        **afterwards(values.get("task", TRAIN)),
    )


class Afterwards(TypedDict):
    """What the settings file says of the end of trainings."""

    on_finish: OnFinish | None
    notify: tuple[str, ...]


def afterwards(task: str) -> Afterwards:
    """Of a training; a test of profiles ends without either. Raises UsageError naming the file."""
    if task not in ("", TRAIN):
        return {"on_finish": None, "notify": ()}
    file = settings.path()
    argv = limit_options.settings_command(file)
    command = OnFinish(argv=argv) if argv is not None else None
    return {"on_finish": command, "notify": limit_options.settings_addresses(file)}


def tasks() -> tuple[Task, ...]:
    """Train, the kinds of tests, and a test for every plan of phases there is."""
    named = (Task(f"test plan {name}", "phases", name) for name in catalog.files(plans.FOLDER))
    return (
        Task(TRAIN),
        Task("test all profiles, in turns", "phases"),
        *named,
        Task("measure one profile, in parts", "bench"),
        Task("look for the fastest profile", "tune"),
    )


def planned(request: Request, task: Task, steps: int | None) -> Plan:
    """What the dialog would start. Raises UsageError."""
    if not task.kind:
        return launch.plan_for(request)
    if request.limits.any:
        raise UsageError("limit: a test of profiles is short, it takes none")
    wanted = plans.named(task.plan)[1] if task.plan else ()
    if task.kind == "phases" and not task.plan:
        wanted = plans.of_profiles(request.profile or trials.first_profile(request))
    return trials.plan_for(request, task.kind, wanted, steps=steps)


def number_of(values: Mapping[str, str], name: str) -> int | None:
    text = values.get(name, "")
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{name.replace('_', ' ')} {text!r}: it is a whole number") from None


def variants_in(experiment: str) -> tuple[str, ...]:
    """The variants that an experiment's file names; nothing for one that cannot be read, which is said elsewhere."""
    try:
        return tuple(catalog.experiment_named(experiment).variants) if experiment else ()
    except UsageError:
        return ()


def summary(plan: Plan) -> str:
    """What would be trained."""
    if plan.test is not None:
        return test_summary(plan, plan.test)
    stop = f", stopping after {plural(plan.stop_after_runs, 'run')}" if plan.stop_after_runs else ""
    several = f", {plan.slots} at a time" if plan.slots > 1 else ""
    device = f"devices {' and '.join(plan.devices)}" if plan.devices else f"device {plan.device}"
    times = "try" if plan.retries == 1 else "tries"
    again = f", {plan.retries} more {times} of a run that fails" if plan.retries else ""
    epochs = plural(plan.experiment.epochs, "epoch")
    return (
        f"{plural(len(plan.runs), 'run')} ({dimensions(plan.runs)}) of {epochs}{several}, "
        f"profile {plan.profile.name}, {device}{again}{stop}"
    )


def test_summary(plan: Plan, test: Test) -> str:
    """What would be measured."""
    steps = plural(test.steps, "step") if test.steps else "20 to 100 steps"
    if test.kind == "bench":
        return f"profile {test.phases[0].name}, then computing alone and loading alone, device {plan.device}"
    if test.kind == "tune":
        return f"from {test.phases[0].name} on, workers and prefetching within the limits, device {plan.device}"
    names = ", ".join(phase.name for phase in test.phases)
    return f"{plural(len(test.phases), 'phase')} of {steps} each, in turns: {names}"


def expectation(expected: Forecast | None) -> str:
    """When it would end, if anything is known."""
    if expected is None or expected.experiment.seconds is None:
        why = expected.text.removeprefix("not known yet: ") if expected is not None else "nothing has run here"
        return f"How long it takes is not known yet: {why}."
    run, every = expected.run, expected.experiment
    spread = margin(every.seconds, every.low, every.high)
    one = f"a run {duration(run.seconds)}, " if run.seconds is not None else ""
    return f"{one}all of it {duration(every.seconds)} {spread} · {every.basis}"
