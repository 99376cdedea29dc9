"""Terms of a loss: what each is worth, what counts nowhere, and what comes prepared."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.config.experiment import Experiment
from engine.config.tables import Data, Loss, Term
from engine.errors import UsageError
from engine.training import losses
from engine.training.data.maps import FURTHEST, Wanted, decoded, of_label, skeleton, squared_distances
from engine.training.evaluate import evaluate
from engine.training.loss_terms.foreground import foreground_logits
from engine.training.loss_terms.skeletons import soft_skeleton
from engine.training.loss_terms.topology import betti_numbers, features, shares
from engine.training.registry import LOSS_TERMS
from tests.training.learners import batch, learner, progress

SIDE = 12
NAMES = ("weighted_bce", "soft_dice", "cl_dice", "skeleton", "surface_distance", "top_loss")


def sheet(at: int = 5) -> Tensor:
    """A sheet two voxels thick, (1, D, H, W)."""
    label = torch.zeros(1, SIDE, SIDE, SIDE, dtype=torch.int64)
    label[:, at : at + 2] = 1
    return label


def logits_of(label: Tensor, sure: float = 6.0) -> Tensor:
    """What a network says that is right about `label`."""
    return ((label > 0).float() * 2 - 1)[:, None] * sure


def term(name: str, ignore: int = -1, **options: float) -> torch.nn.Module:
    return LOSS_TERMS[name](Loss(ignore=ignore), Term(options=options))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "top_loss"])  # which asks how many, not where
def test_a_right_answer_costs_next_to_nothing_a_wrong_one_more(name: str) -> None:
    label = sheet()
    right, wrong = (float(term(name)(logits_of(said), label)) for said in (label, sheet(0)))
    assert 0 <= right < 0.02 < wrong


@pytest.mark.parametrize("name", NAMES)
def test_ignored_voxels_count_nowhere(name: str) -> None:
    torch.manual_seed(3)
    label = sheet()
    label[:, :, :, 8:] = 2
    loss = term(name, ignore=2)
    first = torch.randn(1, 1, SIDE, SIDE, SIDE, requires_grad=True)
    changed = first.detach().clone()
    changed[..., 8:] += torch.randn(changed[..., 8:].shape) * 5
    value = loss(first, label)
    value.backward()
    assert first.grad is not None
    assert float(first.grad[..., 8:].abs().max()) == 0.0 and float(first.grad[..., :8].abs().max()) > 0.0
    assert float(loss(changed, label)) == pytest.approx(float(value.detach()), abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_one_logit_a_voxel_says_the_same_as_two(name: str) -> None:
    torch.manual_seed(4)
    two = torch.randn(1, 2, SIDE, SIDE, SIDE)
    one = two[:, 1:] - two[:, :1]
    assert float(term(name)(two, sheet())) == pytest.approx(float(term(name)(one, sheet())), abs=1e-5)


def test_of_three_classes_all_but_the_first_are_foreground() -> None:
    logits = torch.randn(2, 3, 4, 4, 4)
    assert torch.allclose(torch.sigmoid(foreground_logits(logits)), 1 - logits.softmax(1)[:, 0], atol=1e-6)


def test_weighted_cross_entropy_is_what_the_formula_says() -> None:
    label = torch.tensor([[[[1, 0, 2]]]])
    logits = torch.tensor([[[[[0.5, -1.0, 9.0]]]]])
    p = [1 / (1 + math.exp(-x)) for x in (0.5, -1.0)]
    expected = (-2.8 * math.log(p[0]) - math.log(1 - p[1])) / 2
    assert float(term("weighted_bce", ignore=2, pos_weight=2.8)(logits, label)) == pytest.approx(expected, rel=1e-5)


def test_soft_dice_is_what_the_formula_says() -> None:
    label = torch.tensor([[[[1, 0]]]])
    logits = torch.tensor([[[[[0.0, 0.0]]]]])
    assert float(term("soft_dice", smooth=1.0)(logits, label)) == pytest.approx(1 - (2 * 0.5 + 1) / (1 + 1 + 1))


def test_a_false_voxel_far_from_the_sheet_costs_more_than_one_beside_it() -> None:
    label = sheet()
    costs = []
    for at in (6, 8, 9, 11):
        said = label.clone()
        said[0, at] = 1
        costs.append(float(term("surface_distance", tolerance=2, furthest=8)(logits_of(said, 20.0), label)))
    # The sheet's last slice is 6: slice 8 is 2 voxels away and costs nothing, 9 and 11 a sixth and half of the most.
    assert costs[:2] == pytest.approx([0.0, 0.0], abs=1e-6)
    assert costs[2:] == pytest.approx([1 / 6 / SIDE, 3 / 6 / SIDE], rel=1e-3)


def test_the_prepared_maps_say_what_the_terms_would_work_out_themselves() -> None:
    torch.manual_seed(5)
    label = (torch.rand(1, SIDE, SIDE, SIDE) < 0.3).long()
    label[..., 9:] = 2
    logits = torch.randn(1, 1, SIDE, SIDE, SIDE)
    made = of_label(label[0].to(torch.uint8).numpy(), Wanted(ignore=2, maps=("distance", "skeleton")))
    given = {name: torch.from_numpy(decoded(name, one))[None].half() for name, one in made.items()}
    for name, prepared in (("cl_dice", "skeleton"), ("skeleton", "skeleton"), ("surface_distance", "distance")):
        loss = term(name, ignore=2)
        assert float(loss(logits, label, given[prepared])) == pytest.approx(float(loss(logits, label)), abs=2e-4)


def test_distances_are_exact_and_end_at_16_voxels() -> None:
    truth = np.zeros((40, 6, 6), dtype=bool)
    truth[3] = True
    found = decoded("distance", squared_distances(truth))
    assert found[:8, 0, 0].tolist() == [3, 2, 1, 1, 1, 2, 3, 4] and found[39, 0, 0] == pytest.approx(FURTHEST, abs=0.01)
    truth[:] = False
    truth[20, 1, 1] = True
    assert decoded("distance", squared_distances(truth))[22, 4, 1] == pytest.approx(math.sqrt(13))
    assert (decoded("distance", squared_distances(np.zeros((3, 3, 3), bool))) > 15.9).all()


def test_the_soft_skeleton_of_a_hard_shape_is_the_prepared_one_and_of_a_sheet_a_sheet() -> None:
    rng = np.random.default_rng(1)
    for truth in (rng.random((9, 10, 11)) < 0.4, np.ones((5, 5, 5), bool), np.zeros((5, 5, 5), bool)):
        soft = soft_skeleton(torch.from_numpy(truth.astype(np.float32))[None], 3)[0].numpy()
        assert (soft == skeleton(truth)).all()
    thick = np.zeros((SIDE, SIDE, SIDE), bool)
    thick[4:9] = True
    assert (skeleton(thick).sum(axis=0) == 1).all()  # one voxel thick, everywhere


def test_topology_two_pieces_for_one_cost_and_the_gradient_mends_them() -> None:
    label = torch.zeros(1, SIDE, SIDE, SIDE, dtype=torch.int64)
    label[:, 5:7, 2:10, 2:10] = 1
    broken = logits_of(label, 3.0)
    broken[:, :, 5:7, 2:10, 5:7] = -1.0  # a gap through the middle
    broken.requires_grad_()
    loss = term("top_loss", size=12)
    value = loss(broken, label)
    value.backward()
    assert broken.grad is not None
    assert float(value.detach()) > 10 * float(loss(logits_of(label, 3.0), label))
    gap = broken.grad[0, 0, 5:7, 2:10, 5:7]
    assert float(gap.min()) < 0  # descending fills the gap


def test_topology_noise_does_not_drown_the_features_that_are_wanted() -> None:
    """Two pieces in 32³ voxels of noise, of thousands of features: each piece pulls as hard as in a block without any."""
    label = torch.zeros(1, 32, 32, 32, dtype=torch.int64)
    label[:, 4:12, 4:12, 4:12] = label[:, 20:28, 20:28, 20:28] = 1
    noise = torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(8))
    pulls = []
    for spread in (0.0, 1.0):
        logits = (logits_of(label, 1.0) + spread * noise).requires_grad_()
        term("top_loss", size=32)(logits, label).backward()
        p = torch.sigmoid(logits[0, 0]).detach()
        births, _, wanted = features(p.numpy(), label[0].float().numpy())
        assert logits.grad is not None
        born = births[wanted > 0]
        at_probability = logits.grad[0, 0] / (p * (1 - p))
        pulls.append(float(-at_probability.flatten()[born].min()))
        assert len(born) == 2
        assert spread == 0.0 or len(births) > 2000
    assert pulls[1] > 0.2 * pulls[0] > 0


def test_topology_what_is_not_wanted_costs_as_much_as_what_is() -> None:
    wanted = np.array([1, 0, 0, 0, 1], np.float32)
    assert shares(wanted) == pytest.approx([1 / 2, 1 / 3, 1 / 3, 1 / 3, 1 / 2])
    assert shares(np.zeros(4, np.float32)) == pytest.approx([1 / 4] * 4)
    assert shares(np.ones(4, np.float32)) == pytest.approx([1 / 4] * 4)


def test_betti_numbers_are_pieces_tunnels_and_cavities() -> None:
    ring = np.zeros((5, 7, 7))
    ring[2, 1:6, 1:6] = 1
    ring[2, 3, 3] = 0
    hollow = np.zeros((6, 6, 6))
    hollow[1:4, 1:4, 1:4] = 1
    hollow[2, 2, 2] = 0
    assert betti_numbers(ring) == (1, 1, 0) and betti_numbers(hollow) == (1, 0, 1)
    assert betti_numbers(np.zeros((3, 3, 3))) == (0, 0, 0)


def test_the_total_is_the_weighted_sum_over_outputs_and_a_term_of_every_4_counts_at_every_fourth_step() -> None:
    terms = {"soft_dice": Term(weight=0.5), "skeleton": Term(weight=0.25, every=4)}
    criterion = losses.build(Experiment(loss=Loss(terms=terms, deep_supervision=(1.0, 0.5)), data=Data(ignore=2)))
    torch.manual_seed(6)
    main, coarse = torch.randn(1, 1, SIDE, SIDE, SIDE), torch.randn(1, 1, SIDE // 2, SIDE // 2, SIDE // 2)
    fine = torch.nn.functional.interpolate(coarse, (SIDE,) * 3, mode="trilinear", align_corners=False)
    parts = criterion((main, coarse), sheet(), 4)
    assert set(parts.terms) == set(terms)
    for name, one in terms.items():
        alone = term(name, ignore=2)
        expected = one.weight * (float(alone(main, sheet())) + 0.5 * float(alone(fine, sheet())))
        assert float(parts.terms[name]) == pytest.approx(expected, rel=1e-5)
    assert float(parts.total) == pytest.approx(sum(float(one) for one in parts.terms.values()), rel=1e-6)
    assert set(criterion(main, sheet(), 5).terms) == {"soft_dice"}


@pytest.mark.parametrize(("iterations", "thick"), [(1, slice(3, 9)), (5, slice(1, 11))])
def test_a_term_of_other_iterations_than_the_prepared_map_works_out_its_own(iterations: int, thick: slice) -> None:
    """clDice takes the three iterations that are prepared, so the map is there; the skeleton beside it takes one, or five."""
    torch.manual_seed(7)
    label = torch.zeros(1, SIDE, SIDE, SIDE, dtype=torch.int64)
    label[:, thick] = 1
    logits = torch.randn(1, 1, SIDE, SIDE, SIDE)
    given = torch.from_numpy(skeleton(label[0].bool().numpy()).astype(np.float32))[None].half()
    terms = {"cl_dice": Term(), "skeleton": Term(options={"iterations": iterations})}
    told = losses.build(Experiment(loss=Loss(terms=terms)))(logits, label, maps={"skeleton": given}).terms["skeleton"]
    alone = term("skeleton", iterations=iterations)
    assert float(told) == pytest.approx(float(alone(logits, label)), abs=1e-6)
    assert abs(float(told) - float(alone(logits, label, given))) > 0.01, "the prepared one is another"


def test_validation_tells_the_main_output_by_the_terms_of_every_step() -> None:
    """A rare term is rare because it is costly: it is not paid for with every validation patch."""
    terms = {"soft_dice": {"weight": 0.5}, "skeleton": {"weight": 0.25, "every": 4}, "top_loss": {"every": 10}}
    made = learner({
        "model": {"name": "residual_unet", "channels": 2, "multipliers": [1, 2, 2], "blocks": 1, "classes": 1, "aux": True},
        "loss": {"class_weights": [1.0], "deep_supervision": [1.0, 0.5], "terms": terms},
    })
    given = batch()
    told = evaluate(made, [given], progress(), lambda: None).subjects["loss"]
    with torch.no_grad():
        logits = made.model.eval()(given.image)
    each = [float(term("soft_dice")(logits[i : i + 1], given.label[i : i + 1].long())) for i in range(2)]
    assert told == pytest.approx([0.5 * one for one in each], rel=1e-5)


def test_options_that_are_none_and_distances_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(UsageError, match=r"pos_wieght.*did you mean 'pos_weight'"):
        term("weighted_bce", pos_wieght=2.0)
    with pytest.raises(UsageError, match="0 ≤ tolerance < furthest"):
        term("surface_distance", tolerance=9, furthest=8)
