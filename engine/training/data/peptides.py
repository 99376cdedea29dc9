"""Peptides nobody has found: drawn from statistics that are known exactly, so that what is learnt can be compared.

Residue after residue by a Markov chain of first order, whose first residue and whose transitions are drawn once from a
Dirichlet distribution (`[data] seed`, and `options.concentration`: the smaller, the less alike the residues); lengths
are normal about MIDDLE, cut to MIN_LENGTH … MAX_LENGTH. They mean nothing in biology.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.config.tables import Data
from engine.errors import UsageError
from engine.training.data.tokens import MAX_LENGTH, MIN_LENGTH, PAD, Bytes, Sequences

VERSION = 1
OPTIONS = {"concentration": 0.3}
MIDDLE, SPREAD = 12.0, 4.0
CHUNK = 200_000
Floats = NDArray[np.float64]


class Chain(NamedTuple):
    """`lengths` (MAX_LENGTH + 1,), `first` (20,), `follows` (20, 20): how probable residue j is after i."""

    lengths: Floats
    first: Floats
    follows: Floats

    @property
    def entropy(self) -> float:
        """Of a sequence, nats: nothing that models it needs less on average."""
        letters = self.first
        total = _entropy(self.lengths) + _entropy(self.first)
        for place in range(1, MAX_LENGTH):
            longer = self.lengths[place + 1 :].sum()
            total += float(longer * (letters * [_entropy(row) for row in self.follows]).sum())
            letters = letters @ self.follows
        return total


class Statistics(NamedTuple):
    """Shares: of sequences by length (MAX_LENGTH + 1,), of residues (20,), of neighbouring residues (20, 20)."""

    lengths: Floats
    residues: Floats
    pairs: Floats

    def distances(self, other: Statistics) -> dict[str, float]:
        """Total variation of each, 0 (alike) to 1 (nothing in common)."""
        return {
            name: float(np.abs(mine - its).sum() / 2)
            for name, mine, its in zip(("lengths", "residues", "pairs"), self, other, strict=True)
        }


def chain(data: Data) -> Chain:
    """The statistics of `data`, the same for the same seed and options. Raises UsageError for an unknown option."""
    for name, value in data.options.items():
        if name not in OPTIONS or not value > 0:
            known = ", ".join(f"{name} = {default}" for name, default in OPTIONS.items())
            raise UsageError(f"[data.options] {name} = {value}: peptides know {known}, above 0")
    alike = {**OPTIONS, **data.options}["concentration"]
    rng = np.random.default_rng((VERSION, data.seed))
    lengths = np.exp(-0.5 * ((np.arange(MAX_LENGTH + 1) - MIDDLE) / SPREAD) ** 2)
    lengths[:MIN_LENGTH] = 0.0
    return Chain(
        lengths=lengths / lengths.sum(), first=rng.dirichlet(np.full(PAD, alike)),
        follows=rng.dirichlet(np.full(PAD, alike), PAD),
    )


def expected(of: Chain) -> Statistics:
    """What very many sequences of the chain would have."""
    residues, pairs = np.zeros(PAD), np.zeros((PAD, PAD))
    letters = of.first
    for place in range(MAX_LENGTH):
        residues += of.lengths[place + 1 :].sum() * letters
        pairs += of.lengths[place + 2 :].sum() * letters[:, None] * of.follows
        letters = letters @ of.follows
    return Statistics(of.lengths, residues / residues.sum(), pairs / pairs.sum())


def drawn(data: Data) -> Sequences:
    """`data.subjects` sequences. Raises UsageError for fewer than two."""
    count, of = data.subjects, chain(data)
    if count < 2:
        raise UsageError(f"data.subjects = {count}: peptides need 2 or more, one part is held out")
    rng = np.random.default_rng((VERSION, data.seed, count))
    lengths = rng.choice(MAX_LENGTH + 1, size=count, p=of.lengths)
    # A row's steps behind those of the rows before it: one search finds the next residue of every sequence.
    steps = (np.cumsum(of.follows, axis=1) / of.follows.sum(axis=1, keepdims=True) + np.arange(PAD)[:, None]).ravel()
    letters = rng.choice(PAD, size=count, p=of.first)
    tokens = np.full((count, MAX_LENGTH), PAD, dtype=np.uint8)
    tokens[:, 0] = letters
    for place in range(1, MAX_LENGTH):
        found = np.searchsorted(steps, letters + rng.random(count), side="right")
        letters = np.minimum(found - letters * PAD, PAD - 1)
        tokens[:, place] = letters
    tokens[np.arange(MAX_LENGTH) >= lengths[:, None]] = PAD
    return Sequences(tokens, lengths.astype(np.uint8), np.zeros(count, dtype=np.uint16))


def source_of(data: Data) -> object:
    """What the drawn sequences depend on."""
    return {"peptides": VERSION, "count": data.subjects, "seed": data.seed, "options": OPTIONS | data.options}


def statistics(tokens: Bytes) -> Statistics:
    """Of sequences (N, MAX_LENGTH) that end where their padding begins. Without any pair all shares of pairs are 0."""
    lengths = np.zeros(MAX_LENGTH + 1)
    pairs = np.zeros((PAD + 1, PAD + 1))
    residues = np.zeros(PAD + 1)
    for first in range(0, len(tokens), CHUNK):
        part = np.asarray(tokens[first : first + CHUNK]).astype(np.int16)
        lengths += np.bincount((part != PAD).sum(axis=1), minlength=MAX_LENGTH + 1)
        residues += np.bincount(part.ravel(), minlength=PAD + 1)
        both = part[:, :-1] * (PAD + 1) + part[:, 1:]
        pairs += np.bincount(both.ravel(), minlength=(PAD + 1) ** 2).reshape(PAD + 1, PAD + 1)
    return Statistics(_shares(lengths), _shares(residues[:PAD]), _shares(pairs[:PAD, :PAD]))


def valid(tokens: Bytes) -> NDArray[np.bool_]:
    """Which rows are sequences: MIN_LENGTH residues or more, then padding to the end."""
    padded = tokens == PAD
    resumed = (padded[:, :-1] & ~padded[:, 1:]).any(axis=1)
    checked: NDArray[np.bool_] = ~resumed & ((~padded).sum(axis=1) >= MIN_LENGTH)
    return checked


def _shares(counts: Floats) -> Floats:
    shares: Floats = counts / max(1.0, float(counts.sum()))
    return shares


def _entropy(shares: Floats) -> float:
    there = shares[shares > 0]
    return float(-(there * np.log(there)).sum())
