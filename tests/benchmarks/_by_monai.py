"""Patches as MONAI makes them: CacheDataset and PersistentDataset, as its tutorials have them and as its documentation
says they are fastest.

What cannot be equal: MONAI centres the other half of the patches on a voxel of the background, steptop puts them
anywhere; RandAffined (in the tutorials' way) turns and scales at one stroke, so it does both with the probability that
steptop does either; RandZoomd (in the fast way) fills the border with its last voxel, not with a mirror image;
RandAdjustContrastd takes the power of what lies between a patch's own extremes; RandGaussianSmoothd draws a sigma for
every axis; RandCoarseDropoutd fills a block with one constant, not with the mean.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from math import radians
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import RandomSampler

from tests.benchmarks._same_patches import FOREGROUND, SEED, Patches, Work

KEYS = ("image", "label")
Given = dict[str, float]


class Missing(Exception):
    """MONAI is not there."""


def monai() -> Any:
    """The package, its random numbers seeded. Raises Missing."""
    warnings.filterwarnings("ignore")  # its imports and defaults announce changes of its own
    try:
        import monai as found
        import monai.data
        import monai.transforms
        import monai.utils
    except ModuleNotFoundError as error:
        raise Missing(f"{error}") from None
    found.utils.set_determinism(SEED)
    return found


def known() -> None:
    """Raises Missing. Nothing is imported, which is left to the processes that need it."""
    if find_spec("monai") is None:
        raise Missing("No module named 'monai'")


class Monai:
    """`fast`: a cropped copy of the cached volume instead of a copy of all of it, places of foreground and background
    looked up once, no metadata carried along, the quicker resampling; otherwise as in the tutorials."""

    def __init__(self, work: Work, name: str, persistent: bool, fast: bool) -> None:
        self.monai = monai()
        self.work, self.name = work, name
        self.persistent, self.fast = persistent, fast
        self.dataset: Any = None

    def prepare(self) -> None:
        data, transforms = self.monai.data, self.monai.transforms
        data.set_track_meta(True)  # orientation and spacing are metadata
        files = [{"image": str(case.image), "label": str(case.label)} for case in self.work.cases]
        steps = transforms.Compose([*self._once(), *self._every_time()])
        if self.persistent:
            self.dataset = data.PersistentDataset(files, steps, cache_dir=self.work.folder / self.name.replace(" ", "-"))
        else:
            self.dataset = data.CacheDataset(
                files, steps, num_workers=max(1, self.work.workers), progress=False, copy_cache=not self.fast,
            )

    def epoch(self, number: int, patches: int) -> Patches:
        work, data = self.work, self.monai.data
        # A PersistentDataset reads files in its first epoch.
        data.set_track_meta(not self.fast or (self.persistent and number == 1))
        options: dict[str, Any] = {"prefetch_factor": 2} if work.workers else {}
        loader = data.DataLoader(
            self.dataset, batch_size=work.batch, sampler=RandomSampler(self.dataset, num_samples=patches),
            num_workers=work.workers, **options,
        )
        for batch in loader:
            yield _plain(batch["image"]), _plain(batch["label"])[:, 0]

    def _once(self) -> list[Any]:
        made, work = self.monai.transforms, self.work
        steps = [
            made.LoadImaged(KEYS), made.EnsureChannelFirstd(KEYS), made.Orientationd(KEYS, axcodes="RAS"),
            made.Spacingd(KEYS, pixdim=(work.spacing_mm,) * 3, mode=("bilinear", "nearest")),
            made.ResizeWithPadOrCropd(KEYS, spatial_size=work.shape), made.ScaleIntensityd("image"),
            made.CastToTyped("label", dtype=torch.uint8),
        ]
        if self.fast:
            steps += [made.EnsureTyped(KEYS, track_meta=False)]
        if self.fast and not self.persistent:
            # Places of the background are eight bytes a voxel: reading them from disk takes longer than finding them.
            steps += [made.FgBgToIndicesd("label")]
        return steps

    def _every_time(self) -> list[Any]:
        made, work, options = self.monai.transforms, self.work, dict[str, Any]()
        if self.fast and not self.persistent:
            options = {"fg_indices_key": "label_fg_indices", "bg_indices_key": "label_bg_indices"}
        steps = [
            made.RandCropByPosNegLabeld(
                KEYS, label_key="label", spatial_size=work.patch, pos=FOREGROUND, neg=1 - FOREGROUND, num_samples=1,
                **options,
            )
        ]
        if self.fast:
            steps.append(made.Lambdad(KEYS, func=_owned, track_meta=False))
        moved = work.augment.keys() & {"rotate", "scale"}
        if moved:
            steps += self._moves(work.augment)
        for name, given in work.augment.items():
            if name in OTHERS:
                steps += OTHERS[name](made, given)
        if moved:
            steps.append(made.CastToTyped("label", dtype=torch.uint8))
        return steps

    def _moves(self, augment: dict[str, Given]) -> list[Any]:
        made, turn, scale = self.monai.transforms, augment["rotate"], augment["scale"]
        angle = radians(turn["degrees"])
        if not self.fast:
            either = 1 - (1 - turn["p"]) * (1 - scale["p"])
            return [
                made.RandAffined(
                    KEYS, prob=either, rotate_range=(angle,) * 3, scale_range=((scale["low"] - 1, scale["high"] - 1),) * 3,
                    mode=("bilinear", "nearest"), padding_mode="reflection",
                )
            ]
        return [
            made.RandRotated(
                KEYS, range_x=angle, range_y=angle, range_z=angle, prob=turn["p"], mode=("bilinear", "nearest"),
                padding_mode="reflection", dtype=torch.float32,
            ),
            made.RandZoomd(
                KEYS, prob=scale["p"], min_zoom=scale["low"], max_zoom=scale["high"], mode=("trilinear", "nearest"),
            ),
        ]


def _flip(made: Any, given: Given) -> list[Any]:
    return [made.RandFlipd(KEYS, prob=given[name], spatial_axis=axis) for axis, name in enumerate("dhw")]


def _gamma(made: Any, given: Given) -> list[Any]:
    return [made.RandAdjustContrastd("image", prob=given["p"], gamma=(given["low"], given["high"]))]


def _contrast(made: Any, given: Given) -> list[Any]:
    return [made.RandScaleIntensityFixedMeand("image", prob=given["p"], factors=(given["low"] - 1, given["high"] - 1))]


def _noise(made: Any, given: Given) -> list[Any]:
    return [made.RandGaussianNoised("image", prob=given["p"], std=given["std"])]


def _blur(made: Any, given: Given) -> list[Any]:
    sigma = (0.0, given["sigma"])
    return [made.RandGaussianSmoothd("image", prob=given["p"], sigma_x=sigma, sigma_y=sigma, sigma_z=sigma)]


def _cutout(made: Any, given: Given) -> list[Any]:
    low, high = int(given["low"]), int(given["high"])
    return [
        made.RandCoarseDropoutd(
            "image", holes=int(given["count"]), spatial_size=low, max_spatial_size=high, fill_value=0.3, prob=given["p"]
        )
    ]


OTHERS: dict[str, Callable[[Any, Given], list[Any]]] = {
    "flip": _flip, "gamma": _gamma, "contrast": _contrast, "noise": _noise, "blur": _blur, "cutout": _cutout,
}


def _owned(part: Tensor) -> Tensor:
    """A patch is a view of the cached volume, which some transforms write into."""
    return part.contiguous()


def _plain(found: Any) -> Tensor:
    tensor: Tensor = found.as_tensor() if hasattr(found, "as_tensor") else found
    return tensor
