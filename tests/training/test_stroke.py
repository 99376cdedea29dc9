"""stroke-ablation: its network with exact counts, its loss, whole volumes window by window, two variants trained."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.config import catalog, coupled, windows as grid
from engine.config.experiment import Experiment, of_variant
from engine.config.prepared import steps_per_epoch
from engine.config.tables import Loss
from engine.errors import UsageError
from engine.journals.events import Begin, Metrics, SpanEnded, Steps
from engine.paths import ExperimentPaths, read_json
from engine.training import losses, models, windows
from engine.training.generalised_dice import GeneralisedDice
from tests.training.world import build, plan_of, records, train

CPU = torch.device("cpu")
SMALL = {"name": "resnet_unet", "channels": 4}


def ablation() -> Experiment:
    return catalog.experiment_named("stroke-ablation")


@pytest.mark.parametrize(
    ("variant", "parameters"),
    [("baseline", 41_871_810), ("mkdc", 41_953_218), ("ds", 41_872_712), ("mkdc-ds", 41_954_120)],
)
def test_every_variant_has_the_parameters_of_the_study(variant: str, parameters: int) -> None:
    with torch.device("meta"):
        assert models.parameters(models.build(of_variant(ablation(), variant).model)) == parameters


def small(**more: object) -> nn.Module:
    torch.manual_seed(0)
    base = msgspec.structs.replace(ablation().model, channels=4)
    return models.build(msgspec.structs.replace(base, **more))


def test_heads_below_are_for_training_only_and_any_size_comes_back() -> None:
    model = small(aux=True, mkdc=True)
    outputs = model(torch.zeros(2, 1, 48, 40, 33))
    assert [tuple(one.shape[2:]) for one in outputs] == [(48, 40, 33), (3, 3, 3), (6, 5, 5), (12, 10, 9)]
    assert tuple(model.eval()(torch.zeros(1, 1, 20, 21, 33)).shape) == (1, 2, 20, 21, 33)
    with pytest.raises(UsageError, match=r"model\.blocks = 3 changes nothing: resnet_unet has no use for it"):
        small(blocks=3)


def test_deep_supervision_weighs_outputs_as_the_document_does() -> None:
    made = losses.build(of_variant(ablation(), "ds"))
    single = losses.build(of_variant(ablation(), "baseline"))
    target = torch.zeros(1, 8, 8, 8, dtype=torch.int64)
    target[0, 2:5, 2:5, 2:5] = 1
    outputs = [torch.randn(1, 2, side, side, side) for side in (8, 1, 2, 4)]
    sized = [nn.functional.interpolate(one, (8, 8, 8), mode="trilinear") for one in outputs]
    each = [float(single(one, target).total) for one in sized]
    wanted = sum(weight * value for weight, value in zip((1, 0.5, 0.25, 0.125), each, strict=True))
    assert float(made(outputs, target).total) == pytest.approx(wanted, rel=1e-5)
    assert float(made(outputs[0], target).total) == pytest.approx(each[0], rel=1e-5)


# ---------------------------------------------------------------- the generalised Dice loss


def by_hand(p: np.ndarray, g: np.ndarray) -> float:
    """Sudre et al. 2017, equation 6."""
    weight = 1 / g.sum(axis=(0, 2, 3, 4)) ** 2
    both = (weight * (p * g).sum(axis=(0, 2, 3, 4))).sum()
    return float(1 - 2 * both / (weight * (p + g).sum(axis=(0, 2, 3, 4))).sum())


def test_generalised_dice_is_the_papers() -> None:
    rng = np.random.default_rng(1)
    logits = torch.from_numpy(rng.normal(size=(2, 3, 5, 6, 7)).astype(np.float32))
    target = torch.from_numpy(rng.choice(3, p=(0.9, 0.08, 0.02), size=(2, 5, 6, 7)))
    truth = np.moveaxis(np.eye(3)[target.numpy()], -1, 1)
    found = float(GeneralisedDice()(logits, target))
    assert found == pytest.approx(by_hand(logits.softmax(1).double().numpy(), truth), rel=1e-4)


def test_what_is_ignored_changes_nothing() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(1, 2, 6, 6, 6), torch.randint(0, 2, (1, 6, 6, 6))
    loss = losses.LOSSES["generalised_dice"](Loss(name="generalised_dice", ignore=2))
    marked = target.clone()
    marked[0, :3] = 2
    elsewhere = logits.clone()
    elsewhere[0, :, :3] += 5 * torch.randn(2, 3, 6, 6)
    assert float(loss(logits, marked)) == pytest.approx(float(loss(elsewhere, marked)), rel=1e-6)
    assert float(loss(logits, marked)) == pytest.approx(float(loss(logits[:, :, 3:], target[:, 3:])), rel=1e-5)


def test_without_a_lesion_in_any_patch_it_falls_as_less_is_called_one() -> None:
    loss, target = GeneralisedDice(), torch.zeros(2, 8, 8, 8, dtype=torch.int64)
    found = []
    for sure in (-4.0, 0.0, 4.0, 12.0):
        logits = torch.tensor([sure, -sure]).view(1, 2, 1, 1, 1).expand(2, 2, 8, 8, 8).clone().requires_grad_()
        value = loss(logits, target)
        value.backward()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()
        found.append(float(value.detach()))
    assert found == sorted(found, reverse=True)
    assert found[-1] == pytest.approx(0.0, abs=1e-6)


# ---------------------------------------------------------------- whole volumes


class Watched(nn.Module):
    """Gives back what it is given, and remembers how much that was."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0

    def forward(self, image: Tensor) -> Tensor:
        self.most = max(self.most, image.numel())
        return torch.cat([image, 2 * image], dim=1)


@pytest.mark.parametrize("shape", [(21, 30, 16), (8, 8, 8), (5, 30, 9)])
def test_windows_make_the_whole_volume_and_never_hold_more_than_a_batch_of_them(shape: tuple[int, int, int]) -> None:
    image, model = torch.rand(1, *shape), Watched()
    found = windows.logits(model, image, (8, 16, 8), 3, CPU)
    assert found.shape == (2, *shape)
    torch.testing.assert_close(found, torch.cat([image, 2 * image]))
    assert model.most <= 3 * 8 * 16 * 8


def test_windows_overlap_by_half_and_end_with_the_volume() -> None:
    assert grid.starts(256, 96) == [0, 40, 80, 120, 160]
    assert grid.starts(96, 96) == grid.starts(50, 96) == [0]
    assert grid.count((200, 240, 192), (96, 96, 96)) == 4 * 4 * 3
    weight = windows.gaussian((9, 9, 9))
    assert float(weight[4, 4, 4]) == 1.0
    assert 0 < float(weight.min()) < 1e-8


def test_the_middle_of_a_window_counts_more_than_its_edge() -> None:
    class Edge(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            wrong = torch.ones_like(image)
            wrong[..., 2:-2] = 0
            return wrong

    found = windows.logits(Edge(), torch.zeros(1, 8, 8, 32), (8, 8, 16), 2, CPU)[0]
    assert float(found[:, :, 6:-6].max()) < 0.15


# ---------------------------------------------------------------- the experiment


def test_the_learning_rate_follows_the_batch() -> None:
    optimizer = ablation().optimizer
    assert coupled.learning_rate(optimizer, {"batch_size": 8}) == pytest.approx(1e-4)
    assert coupled.learning_rate(optimizer, {"batch_size": 4, "accumulate_steps": 4}) == pytest.approx(2e-4)
    assert coupled.change(optimizer, {"batch_size": 8}, {"batch_size": 16}).startswith("lr 0.0001 → 0.0002 with it")
    assert not coupled.change(optimizer, {"batch_size": 8}, {"batch_size": 4, "accumulate_steps": 2})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> ExperimentPaths:
    """Two variants of one fold on balls in noise, patch by patch."""
    paths = build(
        tmp_path_factory.mktemp("stroke"), subjects=6, shape=(36, 32, 32),
        table={
            "epochs": 2, "model": SMALL, "patch": {"shape": [32, 32, 32], "per_volume": 2, "foreground": 0.5},
            "loss": {"name": "generalised_dice", "deep_supervision": [1, 0.5, 0.25, 0.125]},
            "optimizer": {"lr": 0.01, "lr_batch": 1, "clip": 1.0},
            "schedule": {"name": "cosine", "warmup_epochs": 0.5},
            "variants": {"baseline": {}, "mkdc-ds": {"set": {"model.mkdc": True, "model.aux": True}}},
        },
        knobs={
            "batch_size": 2, "val_every_epochs": 1, "val_patches_per_volume": 3, "val_batch_size": 4,
            "reconstruct_every_epochs": 2,
        },
    )
    for key in plan_of(paths).runs[:2]:
        run = paths.run(*key.at)
        assert train(run) == 0, run.console.read_text()
    return paths


def test_two_variants_learn_and_are_told_apart(trained: ExperimentPaths) -> None:
    base, both = trained.run(0, 0, "baseline"), trained.run(0, 0, "mkdc-ds")
    begun = [next(r for r in records(run) if isinstance(r, Begin)) for run in (base, both)]
    assert [begin.variant for begin in begun] == ["baseline", "mkdc-ds"]
    assert begun[0].parameters < begun[1].parameters
    found = read_json(trained.results, dict)
    assert found is not None
    first, second = found["variants"]
    assert (first["variant"], second["variant"], second["pairs"]) == ("baseline", "mkdc-ds", 1)
    assert second["difference"] == pytest.approx(second["mean"] - first["mean"])
    assert second["verdict"] == "too few folds to tell"
    assert "test_mean_dice" not in found["summary"]
    assert found["config"]["experiment"]["model"]["mkdc"] is False


def test_the_learning_rate_that_follows_the_batch_is_the_one_that_trains(trained: ExperimentPaths) -> None:
    """0.01 for single patches is 0.02 for two; one of four steps climbs, then half a cosine down to nothing."""
    rates = [one.lr for one in records(trained.run(0, 0, "baseline")) if isinstance(one, Steps)]
    assert rates == pytest.approx([0.01, 0.02, 0.01, 0.0], abs=1e-9)


def test_patches_and_volumes_are_scored_apart(trained: ExperimentPaths) -> None:
    written = records(trained.run(0, 0, "baseline"))
    figures = [record for record in written if isinstance(record, Metrics)]
    assert [(one.split, one.epoch) for one in figures] == [("val", 1), ("val", 2), ("volume", 2), ("test", 2)]
    spans = {record.name: record.items for record in written if isinstance(record, SpanEnded)}
    assert spans["validate"] == 3 * 3
    assert spans["reconstruct"] == 3
    # The last weights, the same volumes, the same windows.
    assert figures[2].values["dice"] == pytest.approx(figures[3].values["dice"])


def test_epochs_count_patches_not_volumes() -> None:
    plan = ablation()
    assert plan.patch.per_volume == 10
    from engine.config.experiment import resolve_profile
    from engine.config.prepared import Split

    profile, _ = resolve_profile(plan, "conservative", "", {}, {})
    assert steps_per_epoch(Split(fold=0, train=tuple(range(569)), test=(), draws=5690), profile) == 712


def test_the_full_experiment_says_what_it_needs_without_volumes(tmp_path: Path) -> None:
    from engine.runs import launch

    with pytest.raises(UsageError, match="say where they are with --data DIR"):
        launch.plan_for(launch.Request(experiment="stroke-ablation", logs=tmp_path))
