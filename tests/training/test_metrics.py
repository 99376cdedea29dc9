"""Dice, AVD and MCC against their definitions on sets of voxels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis.extra.numpy import arrays

from engine.training.metrics import METRICS, Counts, avd, counts, dice, mcc

masks = arrays(np.bool_, (3, 4, 5))


@given(masks, masks)
def test_the_figures_are_what_their_definitions_say(predicted: np.ndarray, truth: np.ndarray) -> None:
    c = counts(torch.from_numpy(predicted), torch.from_numpy(truth))
    p, t = set(np.flatnonzero(predicted)), set(np.flatnonzero(truth))
    assert c == Counts(len(p & t), len(p - t), len(t - p), 60 - len(p | t))
    if p or t:
        assert dice(c) == pytest.approx(2 * len(p & t) / (len(p) + len(t)))
    if t:
        assert avd(c) == pytest.approx(abs(len(p) - len(t)) / len(t))
    if 0 < len(p) < 60 and 0 < len(t) < 60:
        assert mcc(c) == pytest.approx(np.corrcoef(predicted.ravel(), truth.ravel())[0, 1])


@given(masks)
def test_a_perfect_prediction_is_perfect_in_every_figure(truth: np.ndarray) -> None:
    c = counts(torch.from_numpy(truth), torch.from_numpy(truth))
    assert dice(c) == 1.0
    if truth.any():
        assert avd(c) == 0.0
    if truth.any() and not truth.all():
        assert mcc(c) == pytest.approx(1.0)


@given(masks, masks)
def test_swapping_prediction_and_truth_changes_neither_dice_nor_mcc(predicted: np.ndarray, truth: np.ndarray) -> None:
    a, b = torch.from_numpy(predicted), torch.from_numpy(truth)
    assert dice(counts(a, b)) == dice(counts(b, a))
    assert mcc(counts(a, b)) == pytest.approx(mcc(counts(b, a)))


def test_without_a_lesion_the_volume_difference_is_not_defined() -> None:
    nothing = torch.zeros(4, dtype=torch.bool)
    assert math.isnan(avd(counts(torch.ones(4, dtype=torch.bool), nothing)))
    assert mcc(counts(nothing, nothing)) == 0.0


def test_a_whole_head_at_one_millimetre_does_not_overflow() -> None:
    c = Counts(300_000, 100_000, 100_000, 256**3 - 500_000)
    assert 0 < mcc(c) < 1
    assert set(METRICS) == {"dice", "avd", "mcc"}
