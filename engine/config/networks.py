"""What each network makes of the [model] table: the fields it has a use for, and with how many outputs it trains.

A field that changes nothing would be trained, and compared, as if it did: it is refused before anything is. Pure; the
networks themselves are in engine.training.models, under the same names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from engine.config.shape import said
from engine.config.tables import Loss, Model
from engine.errors import UsageError

if TYPE_CHECKING:
    from engine.config.experiment import Experiment

# A U-Net whose `multipliers` are left out.
LEVELS = 5
# Of a ResNet-18's decoder, the finest left out, whose head is the main one.
COARSE = 3


def _none(_: Model) -> int:
    return 0


class Network(NamedTuple):
    """`uses`: fields beside `name`; `heads`: how many outputs `aux` adds while it trains."""

    uses: frozenset[str]
    heads: Callable[[Model], int] = _none


NETWORKS: Mapping[str, Network] = {
    "meshnet": Network(frozenset({"channels", "classes", "dropout"})),
    "residual_unet": Network(
        frozenset({"channels", "classes", "dropout", "multipliers", "blocks", "aux"}),
        # All levels of the decoder, which has no coarsest one, but the finest.
        lambda model: max(0, (len(model.multipliers) or LEVELS) - 2),
    ),
    "resnet_unet": Network(frozenset({"channels", "classes", "aux", "mkdc"}), lambda _: COARSE),
    "denoiser": Network(frozenset({"channels", "dropout", "layers", "heads", "diffusion_steps", "targets"})),
}


def outputs(model: Model) -> int:
    """Of the network while it trains: the main one, and those of its auxiliary heads. 1 for one nobody knows."""
    network = NETWORKS.get(model.name)
    return 1 + (network.heads(model) if network is not None and model.aux else 0)


def check(experiment: Experiment, where: str, own_weights: bool) -> None:
    """`own_weights`: whether `loss.deep_supervision` is meant for this very network, rather than for other variants.

    Raises UsageError for a field of [model] that the network has no use for, for heads that nothing would train, and
    for weights of outputs that are not there. A network nobody knows is explained where it is built.
    """
    if experiment.command or experiment.model.name not in NETWORKS:
        return
    check_fields(experiment.model, where)
    check_heads(experiment.model, experiment.loss, where)
    weights = experiment.loss.deep_supervision
    if own_weights and len(weights) > 1 and outputs(experiment.model) == 1:
        raise UsageError(
            f"{where}: loss.deep_supervision = {said(weights)} weighs auxiliary outputs, and this network has none: "
            f"{_whose('aux')} with model.aux = true, or one weight"
        )


def check_fields(model: Model, where: str) -> None:
    """Raises UsageError for a field that is set and means nothing to the network."""
    if model.name not in NETWORKS:
        return
    for field in msgspec.structs.fields(Model):
        value = getattr(model, field.name)
        if field.name != "name" and value != field.default and field.name not in NETWORKS[model.name].uses:
            raise UsageError(
                f"{where}: model.{field.name} = {said(value)} changes nothing: {model.name} has no use for it; leave "
                f"it out, or choose {_whose(field.name)}"
            )


def check_heads(model: Model, loss: Loss, where: str) -> None:
    """Raises UsageError for auxiliary heads where there are none to have, or more than there are weights for."""
    if not model.aux or model.name not in NETWORKS:
        return
    count, weights = outputs(model), loss.deep_supervision
    if count == 1:
        raise UsageError(f"{where}: model.aux = true adds no head: a U-Net has them from three levels (multipliers) on")
    if len(weights) < count:
        given = f"and loss.deep_supervision has {len(weights)}" if weights else "and loss.deep_supervision gives none"
        example = said([round(0.5**i, 4) for i in range(count)])
        raise UsageError(
            f"{where}: model.aux = true makes {count} outputs, each of which needs a weight, {given}: the others would "
            f"never be trained. Write loss.deep_supervision = {example}, the main output first"
        )


def _whose(field: str) -> str:
    return " or ".join(name for name, network in NETWORKS.items() if field in network.uses)
