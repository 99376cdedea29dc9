"""Variants × folds × restarts as runs, each told from the others by its key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from engine.config import variants as variant_sets
from engine.config.experiment import Experiment
from engine.config.tables import Runs
from engine.counts import plural
from engine.errors import UsageError


class RunKey(msgspec.Struct, frozen=True, kw_only=True):
    """One training of the experiment. `variant`: '' where it has none."""

    fold: int
    restart: int
    seed: int
    variant: str = ""

    @property
    def at(self) -> tuple[int, int, str]:
        """What tells it from the experiment's others, as folders and records have it: fold, restart, variant."""
        return self.fold, self.restart, self.variant

    @property
    def name(self) -> str:
        return f"{self.variant} fold {self.fold} restart {self.restart}".lstrip()


def runs_of(
    experiment: Experiment,
    folds: tuple[int, ...] | None = None,
    restarts: int | None = None,
    variants: tuple[str, ...] | None = None,
) -> tuple[RunKey, ...]:
    """Fold by fold, restart by restart, and of each the variants one after the other: what is compared comes together.

    Raises UsageError for a fold or variant the experiment does not have.
    """
    wanted = folds if folds is not None else experiment.runs.only or tuple(range(experiment.runs.folds))
    for fold in wanted:
        if not 0 <= fold < experiment.runs.folds:
            raise UsageError(f"no fold {fold}: the experiment has folds 0 to {experiment.runs.folds - 1}")
    count = restarts if restarts is not None else experiment.runs.restarts
    if count < 1:
        raise UsageError("restarts must be 1 or more")
    names = variant_sets.chosen(experiment.variants, variants)
    return tuple(
        RunKey(fold=fold, restart=restart, seed=_seed(experiment.runs, fold, restart), variant=name)
        for fold in dict.fromkeys(wanted)
        for restart in range(count)
        for name in names
    )


def _seed(runs: Runs, fold: int, restart: int) -> int:
    return runs.base_seed + (restart if runs.seed_by == "restart" else fold + runs.folds * restart)


def variants_of(runs: Iterable[RunKey]) -> tuple[str, ...]:
    """In the order they are trained in; ('',) where the experiment has none."""
    return tuple(dict.fromkeys(key.variant for key in runs))


def dimensions(runs: Sequence[RunKey]) -> str:
    """`4 variants × 5 folds × 1 restart`; of a queue that has not all of them `some of 2 folds × 3 restarts`."""
    variants = variants_of(runs)
    folds, restarts = len({key.fold for key in runs}), len({key.restart for key in runs})
    said = f"{plural(folds, 'fold')} × {plural(restarts, 'restart')}"
    said = f"{plural(len(variants), 'variant')} × {said}" if any(variants) else said
    return said if len(variants) * folds * restarts == len(runs) else f"some of {said}"
