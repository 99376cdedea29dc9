"""What training minimises: a loss by name or weighted terms, over one output of the network or several.

A loss takes logits (B, C, D, H, W) and class numbers int64 (B, D, H, W), and gives one number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.config import networks
from engine.config.experiment import Experiment
from engine.config.tables import Loss
from engine.errors import UsageError
from engine.training import generalised_dice as generalised_dice, loss_terms as loss_terms
from engine.training.cross_entropy import cross_entropy as cross_entropy
from engine.training.registry import LOSS_TERMS, LOSSES


class Parts(NamedTuple):
    """The loss of a batch, and what its terms contribute to that, detached; none where the loss has no terms."""

    total: Tensor
    terms: dict[str, Tensor]

    def share(self, passes: int) -> Parts:
        """One of so many batches of a step."""
        if passes == 1:
            return self
        return Parts(self.total / passes, {name: value / passes for name, value in self.terms.items()})

    def plus(self, other: Parts) -> Parts:
        """Both together, for looking at only."""
        total = self.total.detach() + other.total.detach()
        return Parts(total, {name: value + other.terms[name] for name, value in self.terms.items()})


class Criterion(nn.Module):
    """The loss of an experiment over the outputs of its network."""

    def __init__(self, config: Loss) -> None:
        """Raises UsageError for an unknown loss or term."""
        super().__init__()
        self.config = config
        self.single = None if config.terms else LOSSES[config.name](config)
        self.terms = nn.ModuleDict({name: LOSS_TERMS[name](config, term) for name, term in config.terms.items()})

    def forward(
        self, outputs: Tensor | Sequence[Tensor], target: Tensor, step: int = 0,
        maps: Mapping[str, Tensor] | None = None,
    ) -> Parts:
        """`outputs`: the main one, or it and the auxiliary ones, which may be coarser. `step`: optimizer steps done;
        a term of `every` k counts at every k-th one, from the first on. `maps`: what was made of the target before."""
        several = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        weights = (self.config.deep_supervision or (1.0,))[: len(several)]
        total, terms = torch.zeros((), device=target.device), dict[str, Tensor]()
        for weight, output in zip(weights, several, strict=True):  # an output without a weight would never be trained
            sized = output
            if output.shape[2:] != target.shape[1:]:
                # In float32, as CUDA's autocast has it and the CPU's has not.
                sized = functional.interpolate(output.float(), target.shape[1:], mode="trilinear", align_corners=False)
            found = self._of_one(sized, target, step, maps or {})
            total = total + weight * found.total
            for name, value in found.terms.items():
                terms[name] = weight * value + terms[name] if name in terms else weight * value
        return Parts(total, terms)

    def _of_one(self, logits: Tensor, target: Tensor, step: int, maps: Mapping[str, Tensor]) -> Parts:
        if self.single is not None:
            return Parts(self.single(logits, target), {})
        found = {
            name: term.weight * _of_term(self.terms[name], logits, target, maps)
            for name, term in self.config.terms.items()
            if step % term.every == 0
        }
        return Parts(torch.stack(list(found.values())).sum(), {name: value.detach() for name, value in found.items()})


def _of_term(term: nn.Module, logits: Tensor, target: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
    """A term whose attribute `prepared` names a map is given it where there is one; where it is empty the term needs
    another one than is prepared."""
    given = maps.get(str(getattr(term, "prepared", "")))
    return cast(Tensor, term(logits, target) if given is None else term(logits, target, given))


def build(experiment: Experiment) -> Criterion:
    """Raises UsageError for an unknown name, terms of which at some step none would count, or outputs of the network
    that have no weight."""
    loss = experiment.loss
    networks.check_heads(experiment.model, loss, "[model]")
    if loss.terms and all(term.every > 1 for term in loss.terms.values()):
        raise UsageError("[loss.terms]: at least one term counts at every step (every = 1)")
    return Criterion(msgspec.structs.replace(loss, ignore=experiment.data.ignore))
