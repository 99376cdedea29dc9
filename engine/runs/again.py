"""An experiment trained once more, from nothing but the manifest.json that the first time left."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path

import msgspec

from engine.config.experiment import Experiment
from engine.config.hashes import training_hash
from engine.config.plan import Plan
from engine.config.profile import Profile
from engine.config.run_keys import RunKey, runs_of
from engine.config.sources import MADE
from engine.errors import DataError, UsageError
from engine.paths import checked_name
from engine.runs.manifest import versions

ENDING = ".json"
# Of the packages that a manifest names, those that results depend on.
COMPUTE = ("steptop", "torch", "numpy", "scipy", "nibabel", "tifffile", "pillow", "scikit-image", "gudhi")


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What of an experiment's manifest.json decides on its results (engine.runs.manifest writes it). `runs`: fold,
    restart and, where there are any, the variant of each."""

    name: str
    experiment: str
    configuration: Experiment
    profile: Profile
    runs: tuple[tuple[int | str, ...], ...]
    data: str
    training_hash: str
    data_hash: str = ""
    overridden_locks: dict[str, str] = {}
    versions: dict[str, str] = {}
    python: str = ""

    @property
    def keys(self) -> tuple[RunKey, ...]:
        """Each run with its seed, which the configuration decides. Raises UsageError for a run that it has not."""
        made: list[RunKey] = []
        variants: tuple[str, ...] | None
        for run in self.runs:
            match run:
                case (int(fold), int(restart)):
                    variants = None
                case (int(fold), int(restart), str(variant)):
                    variants = (variant,)
                case _:
                    raise UsageError(f"a run is [fold, restart] or [fold, restart, variant], not {list(run)}")
            made.append(runs_of(self.configuration, (fold,), restart + 1, variants)[-1])
        return tuple(made)


def read(path: Path) -> Manifest:
    """Raises UsageError for a file that is not there, or no manifest of an experiment."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path}: no manifest of an experiment ({error}); logs/NAME/manifest.json is one, a run's own is not"
        ) from None


def plan_of(found: Manifest, name: str | None, data: Path | None, cache_dir: Path) -> Plan:
    """The same training under a name of its own (NAME-again where none is given). `data`: where they are by now, None
    for where they were. Raises UsageError or DataError."""
    experiment = found.configuration
    if experiment.data.source in MADE and not experiment.command:
        if data is not None:
            raise UsageError(f"--data {data}: {found.experiment} makes its own data; leave --data out")
        folder = ""
    else:
        folder = str(data.expanduser().resolve()) if data is not None else found.data
        folder = "" if folder == experiment.data.source else folder  # a trainer of one's own without any
        if folder and not Path(folder).exists():
            raise DataError(f"{folder}: the data are not there any more; say where they are now with --data")
    return Plan(
        name=checked_name(name if name is not None else f"{found.name}-again"),
        experiment_name=found.experiment,
        experiment=experiment,
        profile=found.profile,
        runs=found.keys,
        data_dir=folder,
        cache_dir=str(cache_dir),
        training_hash=training_hash(experiment, found.profile),
        overridden=found.overridden_locks,
    )


def refuse(path: str, options: Mapping[str, object]) -> None:
    """Raises UsageError where one of these `options` is given: beside a manifest it would make another training."""
    if named := ", ".join(name for name, value in options.items() if value):
        raise UsageError(
            f"{path} says what is trained, to the last knob: leave {named} out, or take the experiment's file"
        )


def remarks(name: str) -> tuple[str, ...]:
    """What may keep results from being the same to the bit; () for what is no manifest."""
    if not name.endswith(ENDING):
        return ()
    found = read(Path(name))
    here = versions() | {"python": platform.python_version()}
    then = found.versions | {"python": found.python}
    said = [
        f"{package} was {then[package]} then and is {here.get(package) or 'not installed'} now"
        for package in (*COMPUTE, "python") if then.get(package) and then[package] != here.get(package)
    ]
    now = training_hash(found.configuration, found.profile)
    if now != found.training_hash:
        said.append(f"what it trains was called {found.training_hash} then and is {now} now: another version's")
    if found.data_hash:
        said.append(f"its data were {found.data_hash}: the new manifest.json says what they are once they are prepared")
    return tuple(said)
