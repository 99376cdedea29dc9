"""Discrete diffusion against what its definition says, worked out with plain matrices."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from engine.config.tables import Model
from engine.errors import UsageError
from engine.training import denoising, models
from engine.training.data.tokens import TOKENS
from engine.training.diffusion import Diffusion, before, bound
from engine.training.models.denoiser import Noised

STEPS, K = 7, 5


def kernels(diffusion: Diffusion) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Q_t and their products, from β alone (equation 9 of appendix A.2.1)."""
    each = [np.eye(K)] + [
        (1 - b) * np.eye(K) + b / K * np.ones((K, K)) for b in diffusion.drawn.double().numpy()[1:]
    ]
    return each, list(itertools.accumulate(each, lambda a, b: a @ b))


def test_noise_follows_the_products_of_its_kernels() -> None:
    diffusion, generator = Diffusion(STEPS, K), torch.Generator().manual_seed(1)
    _, products = kernels(diffusion)
    clean = torch.full((40_000, 1), 3)
    for step in (1, 4, STEPS):
        noisy = diffusion.noised(clean, torch.full((40_000,), step), generator)
        shares = np.bincount(noisy.ravel().numpy(), minlength=K) / 40_000
        assert np.abs(shares - products[step][3]).max() < 0.012
    assert diffusion.prior() == pytest.approx(
        float((products[-1][3] * np.log(products[-1][3] * K)).sum()), abs=1e-5
    )


def test_the_way_back_is_bayes_rule() -> None:
    diffusion = Diffusion(STEPS, K)
    each, products = kernels(diffusion)
    for step, noisy, clean in itertools.product((1, 2, 5), range(K), range(K)):
        joint = products[step - 1][clean] * each[step][:, noisy]
        t = torch.tensor([step])
        told = before(
            functional.one_hot(torch.tensor([[clean]]), K).float(), torch.tensor([[noisy]]), diffusion.drawn[t],
            diffusion.kept[t - 1],
        ).exp()
        assert np.allclose(told.double().numpy().ravel(), joint / joint.sum(), atol=1e-5)


def test_a_network_that_knows_needs_nothing_and_one_that_guesses_needs_more() -> None:
    diffusion = Diffusion(STEPS, K)
    clean = torch.randint(K, (300, 4), generator=torch.Generator().manual_seed(2))
    t = torch.arange(300) % STEPS + 1
    noisy = diffusion.noised(clean, t, torch.Generator().manual_seed(3))
    where = (noisy, t, diffusion.drawn[t], diffusion.kept[t - 1])
    known = bound(functional.one_hot(clean, K) * 40.0, clean, *where)
    guessed = bound(torch.zeros(300, 4, K), clean, *where)
    assert float(known.abs().max()) < 1e-4
    assert float(guessed.mean()) > 0.1
    assert float(guessed[t == 1].mean()) == pytest.approx(math.log(K), rel=1e-5)


def test_samples_of_a_perfect_network_are_as_the_data() -> None:
    """Tokens of shares known beforehand: the best guess at x_0 is Bayes' rule, and what is drawn has those shares."""
    diffusion = Diffusion(STEPS, K)
    shares = torch.tensor([0.5, 0.3, 0.1, 0.07, 0.03])

    def network(noisy: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        kept = diffusion.kept[t][:, None, None]
        likelihood = kept * functional.one_hot(noisy, K) + (1 - kept) / K
        return (likelihood * shares).log()

    drawn = diffusion.samples(network, 20_000, 1, torch.Generator().manual_seed(4))
    found = np.bincount(drawn.ravel().numpy(), minlength=K) / 20_000
    assert np.abs(found - shares.numpy()).max() < 0.015


@pytest.mark.parametrize(
    ("channels", "layers", "heads", "parameters"),
    [(128, 3, 4, 838_677), (256, 4, 4, 3_908_885), (512, 6, 8, 21_462_549)],
)
def test_the_presets_have_the_parameters_they_say(channels: int, layers: int, heads: int, parameters: int) -> None:
    config = Model(name="denoiser", channels=channels, layers=layers, heads=heads, diffusion_steps=10, targets=812)
    assert models.parameters(models.build(config)) == parameters


def test_numbers_no_denoiser_can_have_are_refused() -> None:
    for wrong in ({"heads": 3}, {"layers": 0}, {"diffusion_steps": 0}):
        with pytest.raises(UsageError, match="multiple of twice the heads"):
            models.build(Model(**({"name": "denoiser", "channels": 64, "layers": 1, "heads": 4, "diffusion_steps": 4} | wrong)))


def test_the_step_and_the_target_are_told_to_every_position() -> None:
    torch.manual_seed(0)
    model = models.build(Model(name="denoiser", channels=16, layers=1, heads=2, diffusion_steps=8, targets=3)).eval()
    assert isinstance(model, Noised)
    noisy = torch.randint(TOKENS, (1, 20))
    first = model.network(noisy, torch.tensor([1]), torch.tensor([0]))
    assert first.shape == (1, 20, TOKENS)
    for t, target in ((5, 0), (1, 2)):
        other = model.network(noisy, torch.tensor([t]), torch.tensor([target]))
        assert float((other - first).detach().abs().amax(-1).min()) > 0
    drawn = denoising.samples(model, torch.tensor([0, 1, 2]), 20, seed=1)
    assert drawn.shape == (3, 20)
    assert np.array_equal(drawn, denoising.samples(model, torch.tensor([0, 1, 2]), 20, seed=1))
