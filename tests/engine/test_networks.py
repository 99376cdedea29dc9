"""What a network has no use for, and heads that nothing would train: refused before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.config.experiment import from_table, load
from engine.errors import UsageError
from tui.cli import main

SHIPPED = sorted((Path(__file__).parents[2] / "engine" / "experiments").glob("*.toml"))
UNET: dict[str, Any] = {"name": "residual_unet", "channels": 4}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_experiment_that_ships_asks_for_nothing_in_vain(path: Path) -> None:
    assert load(path).runs.folds >= 2


@pytest.mark.parametrize(
    ("model", "loss", "words"),
    [
        ({"mkdc": True}, {}, r"f\.toml: model\.mkdc = true changes nothing: meshnet has no use for it; .* resnet_unet"),
        ({"aux": True}, {}, r"model\.aux = true changes nothing: meshnet .* choose residual_unet or resnet_unet"),
        (UNET | {"mkdc": True}, {}, r"model\.mkdc = true changes nothing: residual_unet"),
        ({"name": "resnet_unet", "blocks": 3}, {}, r"model\.blocks = 3 changes nothing: resnet_unet"),
        ({"name": "resnet_unet", "dropout": 0.1}, {}, r"model\.dropout = 0\.1 changes nothing: resnet_unet"),
        ({"multipliers": [1, 2]}, {}, r"model\.multipliers = \[1, 2\] changes nothing: meshnet"),
        (UNET | {"aux": True}, {}, r"makes 4 outputs, each of which needs a weight, and loss\.deep_supervision gives none"),
        (UNET | {"aux": True}, {"deep_supervision": [1.0, 0.5]}, r"4 outputs, .* has 2: .* \[1\.0, 0\.5, 0\.25, 0\.125\]"),
        (
            UNET | {"aux": True, "multipliers": [1, 2, 4]}, {"deep_supervision": [1.0]},
            r"makes 2 outputs, .* has 1: .* loss\.deep_supervision = \[1\.0, 0\.5\]",
        ),
        (UNET | {"aux": True, "multipliers": [1, 2]}, {"deep_supervision": [1.0, 0.5]}, "from three levels"),
        (UNET, {"deep_supervision": [1.0, 0.5]}, r"weighs auxiliary outputs, and this network has none"),
    ],
)
def test_what_would_change_nothing_is_refused(model: dict[str, Any], loss: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        from_table({"model": model, "loss": loss}, "f.toml")


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ({"model.mkdc": True}, r"f\.toml \[variants\.b\]: model\.mkdc = true changes nothing: residual_unet"),
        ({"model.aux": True}, r"f\.toml \[variants\.b\]: model\.aux = true makes 4 outputs"),
        ({"loss.deep_supervision": [1.0, 0.5, 0.5, 0.5]}, r"f\.toml \[variants\.b\]: loss\.deep_supervision = .* has none"),
    ],
)
def test_a_variant_that_would_be_its_baseline_again_is_refused(sets: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        from_table({"model": UNET, "variants": {"a": {}, "b": {"set": sets}}}, "f.toml")


def test_a_baseline_without_heads_leaves_the_other_variants_weights_alone() -> None:
    weights = {"deep_supervision": [1.0, 0.5, 0.5, 0.5]}
    made = from_table({"model": UNET, "loss": weights, "variants": {"a": {}, "b": {"set": {"model.aux": True}}}}, "f.toml")
    assert tuple(made.variants) == ("a", "b")


def test_a_trainer_of_ones_own_may_make_of_a_field_what_it_likes() -> None:
    assert from_table({"command": ["mine"], "model": {"mkdc": True, "aux": True}}, "f.toml").model.mkdc


@pytest.mark.parametrize("verb", ["run", "check"])
def test_the_command_line_says_so_and_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    file, logs = tmp_path / "mine.toml", tmp_path / "logs"
    file.write_text('[data]\nsource = "phantom"\nsubjects = 4\n[model]\nname = "resnet_unet"\naux = true\n')
    assert main(["--logs", str(logs), verb, str(file)]) == 2
    said = capsys.readouterr().err
    assert "model.aux = true makes 4 outputs" in said and "loss.deep_supervision = [1.0, 0.5, 0.25, 0.125]" in said
    assert not logs.exists() or not list(logs.iterdir())
