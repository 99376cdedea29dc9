"""MeshNet exactly as published, and networks and losses by name."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from engine.config.experiment import Experiment
from engine.config.tables import Loss, Model
from engine.errors import UsageError
from engine.training import losses, models
from engine.training.models.meshnet import DILATIONS, MeshNet
from engine.training.registry import Registry


@pytest.mark.parametrize(("channels", "count"), [(5, 5_682), (16, 56_194), (26, 147_474)])
def test_the_published_variants_have_the_published_number_of_parameters(channels: int, count: int) -> None:
    assert models.parameters(models.build(Model(name="meshnet", channels=channels))) == count


def test_ten_layers_with_the_published_dilations_and_nothing_between_them() -> None:
    net = MeshNet(4)
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv3d)]
    assert [conv.dilation[0] for conv in convolutions] == [1, 2, 4, 8, 16, 16, 8, 4, 2, 1]
    assert [conv.padding[0] for conv in convolutions[:-1]] == list(DILATIONS)
    assert all(conv.bias is not None for conv in convolutions)
    order = [type(layer) for block in net.blocks for layer in block]
    assert order == [nn.Conv3d, nn.BatchNorm3d, nn.ReLU] * 9


def test_an_output_voxel_sees_123_voxels_a_side() -> None:
    net = MeshNet(1).eval()
    for module in net.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.constant_(module.weight, 0.1)
    line = torch.ones(1, 1, 141, 1, 1, requires_grad=True)
    net(line)[0, 0, 70, 0, 0].backward()
    assert line.grad is not None
    seen = line.grad[0, 0, :, 0, 0].nonzero().flatten()
    assert (int(seen.min()), int(seen.max())) == (70 - 61, 70 + 61)


def test_the_output_has_the_input_s_shape_and_one_channel_per_class() -> None:
    assert MeshNet(3, classes=4)(torch.rand(2, 1, 9, 10, 11)).shape == (2, 4, 9, 10, 11)


def test_weights_start_xavier_normal_with_the_gain_of_relu_and_biases_at_zero() -> None:
    torch.manual_seed(1)
    convolutions = [module for module in MeshNet(26).modules() if isinstance(module, nn.Conv3d)]
    for conv in convolutions[1:-1]:
        fan = 26 * 27
        wanted = math.sqrt(2.0) * math.sqrt(2.0 / (fan + fan))
        assert float(conv.weight.detach().std()) == pytest.approx(wanted, rel=0.05)
        assert float(conv.weight.detach().mean()) == pytest.approx(0.0, abs=wanted / 20)
    assert all(bool((conv.bias == 0).all()) for conv in convolutions if conv.bias is not None)


def test_dropout_stands_behind_every_block_only_if_asked_for() -> None:
    dropped = MeshNet(3, dropout=0.25)
    assert sum(isinstance(module, nn.Dropout3d) for module in dropped.modules()) == 9
    assert not any(isinstance(module, nn.Dropout3d) for module in MeshNet(3).modules())


def test_an_unknown_model_or_loss_is_answered_with_the_nearest_right_name() -> None:
    with pytest.raises(UsageError, match="did you mean 'meshnet'"):
        models.build(Model(name="meshnt"))
    with pytest.raises(UsageError, match="did you mean 'cross_entropy'"):
        losses.build(Experiment(loss=Loss(name="cross_entropie")))


def test_a_name_is_registered_once() -> None:
    registry: Registry[int] = Registry("number")
    registry.register("one")(1)
    with pytest.raises(ValueError, match="two numbers"):
        registry.register("one")(1)
    assert registry["one"] == 1


def test_the_loss_weighs_classes_and_smooths_labels() -> None:
    """By hand, for one voxel of each class: sum_i w_yi * nll_i / sum_i w_yi, with smoothing spread over both classes."""
    config = Loss(class_weights=(0.5, 1.0), label_smoothing=0.01)
    logits = torch.tensor([[[[[1.0, -2.0]]], [[[0.5, 1.5]]]]])
    label = torch.tensor([[[[0, 1]]]])
    log = torch.log_softmax(logits, 1)[0, :, 0, 0, :]
    weights = torch.tensor([0.5, 1.0])
    plain = -(0.5 * log[0, 0] + 1.0 * log[1, 1]) / 1.5
    spread = -((weights[:, None] * log).sum()) / 1.5 / 2
    wanted = (1 - 0.01) * plain + 0.01 * spread
    assert float(losses.build(Experiment(loss=config))(logits, label).total) == pytest.approx(float(wanted), rel=1e-5)
