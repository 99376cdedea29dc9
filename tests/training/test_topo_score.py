"""The challenge's topological score: counts of matched features as it weighs them, and shapes whose features are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.errors import UsageError
from engine.runs.launch import Request, plan_for
from engine.training import surfaces
from engine.training.check import check
from engine.training.topo_score import MISSING, Counts, Solid, installed, octants, of_counts, topo_score


def counts(matched: list[int], predicted: list[int], true: list[int]) -> Counts:
    return Counts(*(np.array(one, np.int64) for one in (matched, predicted, true)))


@pytest.mark.parametrize(
    ("given", "score"),
    [
        (counts([0, 0, 0], [0, 0, 0], [0, 0, 0]), 1.0),
        (counts([3, 1, 1], [3, 1, 1], [3, 1, 1]), 1.0),
        (counts([0, 0, 0], [2, 0, 0], [1, 0, 0]), 0.0),
        # Of pieces 2/3; a tunnel that the truth has not 0.5 / 1.5; no cavity anywhere: its weight goes to the others.
        (counts([1, 0, 0], [2, 1, 0], [1, 0, 0]), (0.34 * 2 / 3 + 0.33 / 3) / 0.67),
        (counts([2, 1, 0], [4, 1, 0], [2, 3, 1]), 0.34 * 4 / 6 + 0.33 * 2 / 4 + 0.33 * 0),
    ],
)
def test_counts_are_weighed_as_the_challenge_weighs_them(given: Counts, score: float) -> None:
    assert of_counts(given) == pytest.approx(score)


def test_eight_parts_cover_a_volume_once_and_the_first_ones_are_larger() -> None:
    seen = np.zeros((5, 4, 1), int)
    parts = list(octants(seen.shape))
    for part in parts:
        seen[part] += 1
    assert (seen == 1).all()
    assert [part[0] for part in parts[:1]] == [slice(0, 3)]
    assert len(parts) == 4, "a side of one voxel has no second half"
    assert len(list(octants((6, 6, 6)))) == 8


def test_what_is_counted_in_the_parts_is_added_up_before_it_is_weighed() -> None:
    """One part has two pieces of the prediction for one of the truth, another one each: 2 · 2 / 5, not a mean of parts."""
    shapes: list[tuple[int, ...]] = []

    def matching(predicted: Solid, truth: Solid) -> Counts:
        shapes.append(predicted.shape)
        known = {0: ([1, 0, 0], [2, 0, 0], [1, 0, 0]), 5: ([1, 0, 0], [1, 0, 0], [1, 0, 0])}
        return counts(*known.get(len(shapes) - 1, ([0, 0, 0],) * 3))

    volume = np.zeros((6, 6, 6), bool)
    assert topo_score(volume, volume, matching) == pytest.approx(4 / 5)
    assert shapes == [(3, 3, 3)] * 8


def test_without_its_package_the_figure_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    """By the preflight, quick or not, and by whoever trains; with it by nobody."""
    (tmp_path / "mine.toml").write_text('figures = ["topo_score"]\n[data]\nsource = "phantom"\nsubjects = 8\nshape = [24, 24, 24]\n')
    plan = plan_for(Request(experiment=str(tmp_path / "mine.toml"), logs=tmp_path / "logs", device="cpu"))
    assert (MISSING in check(plan, quick=True).errors) == (not installed())
    if not installed():
        with pytest.raises(UsageError, match="pip install --no-deps topolosses, or leave it out"):
            surfaces.check(("topo_score",))
    surfaces.check(("surface_dice_2", "voi_score"))


@pytest.mark.skipif(not installed(), reason="topolosses is not installed: pip install --no-deps topolosses")
def test_tunnels_cavities_and_pieces_are_matched_where_they_are() -> None:
    """A sheet through all eight parts, a box and two beads in one of them; what one of a part's pieces is, does not count."""
    sheet = np.zeros((20, 20, 20), bool)
    sheet[9:11] = True
    holed = sheet.copy()
    holed[:, 3:6, 3:6] = False
    assert topo_score(sheet, sheet) == topo_score(holed, holed) == 1.0
    assert topo_score(sheet, holed) == 0.0
    assert topo_score(holed, sheet) == pytest.approx(0.5 / 2.5), "two parts have a tunnel that is not there"
    moved = np.roll(holed, 10, axis=1)
    assert topo_score(moved, holed) == 0.0, "as many tunnels, elsewhere"
    box = np.zeros((20, 20, 20), bool)
    box[1:8, 1:8, 1:8] = True
    hollow = box.copy()
    hollow[3:5, 3:5, 3:5] = False
    assert (topo_score(hollow, hollow), topo_score(box, hollow)) == (1.0, 0.0)
    beads = np.zeros((20, 20, 20), bool)
    beads[1:3, 1:3, 1:3] = beads[5:7, 5:7, 5:7] = True
    one = beads.copy()
    one[5:7, 5:7, 5:7] = False
    assert (topo_score(beads, beads), topo_score(one, beads)) == (1.0, 0.0)
