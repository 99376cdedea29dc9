"""The residual U-Net of the surface detection: its size, its heads, and activations that are computed again."""

from __future__ import annotations

import pytest
import torch

from engine.config.tables import Model
from engine.errors import UsageError
from engine.training import models
from engine.training.models.residual_unet import Residual, ResidualUNet

SMALL = Model(name="residual_unet", channels=3, classes=1, multipliers=(1, 2, 4), blocks=1, aux=True)


def test_the_full_network_has_33_671_604_parameters_323_of_them_in_auxiliary_heads() -> None:
    full = Model(name="residual_unet", channels=40, multipliers=(1, 2, 2, 4, 4), blocks=3, classes=1, dropout=0.15, aux=True)
    network = models.build(full)
    heads = network.aux
    assert models.parameters(network) == 33_671_604
    assert models.parameters(heads) == 160 + 80 + 80 + 3  # a weight a channel and a bias each


def test_while_it_trains_it_gives_auxiliary_outputs_from_fine_to_coarse_and_one_output_otherwise() -> None:
    network = models.build(SMALL)
    image = torch.rand(2, 1, 18, 20, 22)  # 18 and 22 do not divide by 4
    main, fine = network(image)
    assert main.shape == (2, 1, 18, 20, 22) and fine.shape == (2, 1, 9, 10, 11)
    assert network.eval()(image).shape == main.shape


def test_a_block_drops_out_once_after_its_second_norm() -> None:
    kinds = [type(part).__name__ for part in Residual(2, 2, 0.15).body]
    assert kinds == ["Conv3d", "InstanceNorm3d", "Mish", "Conv3d", "InstanceNorm3d", "Dropout3d"]


def test_four_levels_down_a_side_of_72_comes_back() -> None:
    network = ResidualUNet(1, 1, (1, 1, 1, 1, 1), blocks=1)
    assert network(torch.rand(1, 1, 72, 24, 40)).shape == (1, 1, 72, 24, 40)  # 72 / 16 is 4.5


def test_activations_computed_again_change_no_gradient() -> None:
    torch.manual_seed(1)
    network = ResidualUNet(2, 1, (1, 2), blocks=1, dropout=0.3)
    image = torch.rand(1, 1, 8, 8, 8)
    gradients = []
    for again in (False, True):
        network.checkpointing = again
        network.zero_grad()
        torch.manual_seed(2)  # the same dropout
        network(image).square().mean().backward()
        gradients.append([weight.grad.clone() for weight in network.parameters() if weight.grad is not None])
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(*gradients, strict=True))


def test_a_u_net_of_one_level_is_none() -> None:
    with pytest.raises(UsageError, match="two levels or more"):
        models.build(Model(name="residual_unet", multipliers=(1,)))
