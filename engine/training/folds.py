"""Stratified folds: which subjects a run learns from and which are held out.

Subjects are sorted by stratum, shuffled within each by the seed, and dealt out to the folds like cards, one after the
other through all strata. So fold sizes differ by one at most, and so do the counts of every stratum.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from engine.config.prepared import Split
from engine.errors import DataError, unknown

FEWER_FOLDS = "set fewer folds (folds under [runs], in a copy of the experiment's file in ./experiments)"
QUARTILES = ("smallest quarter", "second quarter", "third quarter", "largest quarter")
HALVES = ("smaller half", "larger half")
SIZE, ACQUISITION = "lesion_size", "acquisition"
NAMES = (SIZE, ACQUISITION)


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """What folds need to know of a subject. Members of a group (a person's sessions) share a fold; '' is no group."""

    id: str
    lesion_mm3: float
    acquisition: str = ""
    group: str = ""


class Folds(msgspec.Struct, frozen=True, kw_only=True):
    """`splits` index the members as they were given; `strata` is each member's stratum in words."""

    splits: tuple[Split, ...]
    stratified_by: tuple[str, ...]
    strata: tuple[str, ...]
    warnings: tuple[str, ...] = ()


class Way(NamedTuple):
    """One way to form strata: how many parts by lesion size (0: none), and whether by acquisition."""

    parts: int
    acquisition: bool

    @property
    def words(self) -> tuple[str, ...]:
        size = {4: ("lesion size in quartiles",), 2: ("lesion size in halves",), 0: ()}[self.parts]
        return size + (("acquisition",) if self.acquisition else ())


def make_folds(
    members: Sequence[Member], folds: int, seed: int, stratify: Sequence[str] = NAMES, per_member: int = 1
) -> Folds:
    """`folds` splits of `members`, the same for the same ids, sizes, acquisitions, groups and seed in whatever order.

    Where a stratum has fewer members than there are folds the next coarser way is taken (quartiles × acquisition,
    quartiles, halves, none), and a warning says so. Fold 0 is never smaller than the others. `per_member`: samples that
    an epoch draws from each.
    Raises DataError for fewer groups than folds, UsageError for an unknown name in `stratify`.
    """
    for name in stratify:
        if name not in NAMES:
            raise unknown("stratification", name, NAMES, "runs.stratify")
    groups = _groups(members)
    if len(groups) < folds:
        what = "subjects" if len(groups) == len(members) else f"persons ({len(members)} volumes)"
        raise DataError(f"{folds} folds need at least {folds} {what}, not {len(groups)}; add data, or {FEWER_FOLDS}")
    heads = [max((members[i] for i in group), key=lambda m: (m.lesion_mm3, m.id)) for group in groups]
    way, labels, warnings = _strata(heads, folds, stratify)
    key = _shuffled(seed)
    order = sorted(range(len(groups)), key=lambda g: (labels[g], key(heads[g].id)))
    fold_of = {i: place % folds for place, g in enumerate(order) for i in groups[g]}
    words = {i: _words(labels[g]) for g, group in enumerate(groups) for i in group}
    everyone = range(len(members))
    train = [tuple(i for i in everyone if fold_of[i] != fold) for fold in range(folds)]
    return Folds(
        splits=tuple(
            Split(
                fold=fold,
                train=learners,
                test=tuple(i for i in everyone if fold_of[i] == fold),
                draws=len(learners) * per_member if per_member > 1 else 0,
            )
            for fold, learners in enumerate(train)
        ),
        stratified_by=way.words,
        strata=tuple(words[i] for i in everyone),
        warnings=warnings,
    )


def table(folds: Folds) -> dict[str, tuple[int, ...]]:
    """Stratum -> how many of it each fold holds out."""
    held_out = [Counter(folds.strata[i] for i in split.test) for split in folds.splits]
    return {stratum: tuple(count[stratum] for count in held_out) for stratum in sorted(set(folds.strata), key=_ranked)}


def _ranked(words: str) -> tuple[int, str]:
    """From the smallest lesions to the largest ones."""
    size, sizes = words.partition(" × ")[0], (*QUARTILES, *HALVES)
    return sizes.index(size) if size in sizes else len(sizes), words


def _groups(members: Sequence[Member]) -> list[list[int]]:
    together: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i in sorted(range(len(members)), key=lambda i: members[i].id):
        member = members[i]
        together[("group", member.group) if member.group else ("alone", member.id)].append(i)
    return list(together.values())


Label = tuple[int, int, str]


def _strata(heads: Sequence[Member], folds: int, stratify: Sequence[str]) -> tuple[Way, list[Label], tuple[str, ...]]:
    """The finest way in which every stratum reaches every fold, each head's stratum, and what had to be given up."""
    wanted = Way(4 if SIZE in stratify else 0, ACQUISITION in stratify)
    chain = [wanted, Way(wanted.parts, False), Way(min(wanted.parts, 2), False), Way(0, False)]
    first = ""
    for way in dict.fromkeys(chain):
        labels = _labels(heads, way)
        smallest, count = min(Counter(labels).items(), key=lambda item: (item[1], item[0]))
        if count >= folds or way == Way(0, False):
            break
        first = first or f"stratum “{_words(smallest)}” has {count} of the {folds} subjects that {folds} folds need"
    if not first:
        return way, labels, ()
    instead = f"stratified by {' × '.join(way.words)} only" if way.words else "not stratified, only shuffled"
    return way, labels, (f"{first}: the folds are {instead}",)


def _labels(heads: Sequence[Member], way: Way) -> list[Label]:
    """Parts are equal in number, by rank of lesion size; equal sizes are told apart by id."""
    rank = {i: r for r, i in enumerate(sorted(range(len(heads)), key=lambda i: (heads[i].lesion_mm3, heads[i].id)))}
    return [
        (way.parts, rank[i] * way.parts // len(heads), head.acquisition if way.acquisition else "")
        for i, head in enumerate(heads)
    ]


def _words(label: Label) -> str:
    parts, part, acquisition = label
    size = {4: QUARTILES, 2: HALVES, 0: ("all",)}[parts][part]
    return f"{size} × {acquisition}" if acquisition else size


def _shuffled(seed: int) -> Callable[[str], bytes]:
    """A sort key that shuffles ids: alike on every machine and Python version, whoever else is there."""
    return lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest()
