"""What is said of the networks before torch is there, and what they are."""

from __future__ import annotations

import msgspec
import pytest
import torch

from engine.config import networks
from engine.config.experiment import Experiment
from engine.config.tables import Loss, Model
from engine.errors import UsageError
from engine.training import losses, models
from engine.training.registry import MODELS

SMALL = {
    "meshnet": Model(name="meshnet", channels=3),
    "residual_unet": Model(name="residual_unet", channels=2, multipliers=(1, 2, 2), blocks=1),
    "resnet_unet": Model(name="resnet_unet", channels=4),
    "denoiser": Model(name="denoiser", channels=16, layers=1, heads=2, diffusion_steps=4),
}


def other(model: Model, field: str) -> Model:
    """The same with another value of that field."""
    values = {"multipliers": (1, 2, 3), "aux": True, "mkdc": True, "dropout": 0.5}
    value = values[field] if field in values else 2 * getattr(model, field) or 2
    return msgspec.structs.replace(model, **{field: value})


def made(model: Model) -> dict[str, object]:
    """All that its modules hold beside other modules, tensors by their shapes."""
    found: dict[str, object] = {"": repr(network := models.build(model))}
    for name, module in network.named_modules():
        plain = {**module.__dict__, **module.__dict__["_parameters"], **module.__dict__["_buffers"]}
        for field, value in plain.items():
            if isinstance(value, torch.Tensor):
                found[f"{name}.{field}"] = tuple(value.shape)
            elif isinstance(value, int | float | str | bool):
                found[f"{name}.{field}"] = value
    return found


def test_every_network_is_known() -> None:
    assert tuple(sorted(networks.NETWORKS)) == MODELS.names() == tuple(sorted(SMALL))


@pytest.mark.parametrize("name", SMALL)
def test_a_network_makes_use_of_the_fields_it_is_said_to_and_refuses_the_others(name: str) -> None:
    base = SMALL[name]
    for field in msgspec.structs.fields(Model):
        if field.name == "name":
            continue
        changed = other(base, field.name)
        if field.name in networks.NETWORKS[name].uses:
            assert made(changed) != made(base), field.name
        else:
            with pytest.raises(UsageError, match=rf"model\.{field.name} = .* changes nothing: {name} has no use for it"):
                models.build(changed)


@pytest.mark.parametrize(
    "model",
    [
        SMALL["meshnet"], SMALL["resnet_unet"], msgspec.structs.replace(SMALL["resnet_unet"], aux=True),
        *(
            Model(name="residual_unet", channels=1, multipliers=multipliers, blocks=1, aux=aux)
            for multipliers in ((), (1, 1, 1), (1, 2, 1, 1)) for aux in (True, False)
        ),
    ],
    ids=str,
)
def test_it_trains_with_as_many_outputs_as_is_said(model: Model) -> None:
    found = models.build(model)(torch.rand(2, 1, 32, 32, 32))
    assert (len(found) if isinstance(found, tuple) else 1) == networks.outputs(model)


def test_an_output_without_a_weight_is_refused_however_the_configuration_came_here() -> None:
    model = msgspec.structs.replace(SMALL["residual_unet"], aux=True)
    with pytest.raises(UsageError, match="makes 2 outputs, each of which needs a weight"):
        losses.build(Experiment(model=model, loss=Loss(deep_supervision=(1.0,))))
    assert losses.build(Experiment(model=model, loss=Loss(deep_supervision=(1.0, 0.5)))).config.deep_supervision == (1.0, 0.5)
