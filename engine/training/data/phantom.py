"""Heads that never lived: volumes with lesions, made from a seed and written as a BIDS tree of .nii.gz files.

Each has air, scalp, skull, cerebrospinal fluid, ventricles, folded grey and white matter, a bias field, noise, and one
lesion. Fluid and scalp are brighter than tissue too, and brightness drifts, so that no one threshold finds the lesion.
Shapes, spacings and orientations differ; two acquisitions differ in contrast and noise. All sizes are those of a real
head in mm, so few voxels a side mean large voxels. A lesion's volume is log-uniform over LESION_MM3 (the range of ARC,
arXiv 2503.05531 §2), from MIN_LESION_VOXELS up where that is more: ARC's smallest has 203 voxels.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import nibabel
import numpy as np
from nibabel import orientations
from numpy.typing import NDArray
from scipy import ndimage

from engine.config.tables import Data
from engine.errors import UsageError
from engine.paths import FOLDER_MODE, read_json, write_json
from engine.training.data.cache import clean, publish, temporary_name
from engine.training.data.discover import ACQUISITIONS as ACQUISITION_NAMES, MASK_ENDING, MASKS
from engine.training.data.nifti import Affine
from engine.training.data.volumes import Floats, Mask

VERSION = 1
MANIFEST = "phantom.json"
LESION_MM3 = (200.0, 300_000.0)
MIN_LESION_VOXELS = 200
FIELD_MM = (168.0, 196.0, 160.0)
BRAIN_MM = (66.0, 80.0, 61.0)
SHELL_MM = {"fluid": 4.0, "skull": 8.0, "scalp": 12.0}
AXES = ("RAS", "LPS", "LAS", "PIR", "RSA", "LPI", "ASR", "RPI")
# acq- entity: brightness of white matter, grey matter, fluid, skull, scalp and lesion; standard deviation of the noise.
ACQUISITIONS = {
    "spc3p2": (0.28, 0.38, 0.58, 0.06, 0.48, 1.00, 0.030),
    "spc3": (0.32, 0.42, 0.62, 0.08, 0.52, 1.04, 0.020),
}
# A lesion's share of its acquisition's brightness, and the brightness of the eyes, the brightest of all.
LESION_BRIGHTNESS = (0.88, 1.0)
EYES = 1.05
# No phantom is smaller: with fewer voxels the smallest lesions would be none.
MIN_SIDE = 24


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one head but its voxels. `shape` and `spacing_mm` go R, A, S; `axes` is how it is stored."""

    id: str
    session: str
    acquisition: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    axes: str
    lesion_voxels: int
    seed: tuple[int, int]

    @property
    def lesion_mm3(self) -> float:
        return self.lesion_voxels * float(np.prod(self.spacing_mm))

    @property
    def stem(self) -> str:
        return f"{self.id}_{self.session}_acq-{self.acquisition}_T2w"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """phantom.json, written last: what the folder holds."""

    version: int
    data: Data
    subjects: tuple[Spec, ...]


def specs(data: Data) -> tuple[Spec, ...]:
    """All heads of `data`: the same for the same number, shape and seed. Raises UsageError for too few or too small."""
    if data.subjects < 2:
        raise UsageError(f"data.subjects = {data.subjects}: phantoms need 2 or more, one part is held out")
    if min(data.shape) < MIN_SIDE:
        raise UsageError(f"data.shape = {list(data.shape)}: phantoms need {MIN_SIDE} voxels or more on every side")
    rng = np.random.default_rng((data.seed, data.subjects, *data.shape))
    voxel_mm3 = float(np.prod(FIELD_MM)) / float(np.prod(data.shape))
    low, high = np.log((max(LESION_MM3[0], MIN_LESION_VOXELS * voxel_mm3), LESION_MM3[1]))
    # One lesion in each of equally wide steps of the range, so that few subjects span it as evenly as many.
    places = (np.arange(data.subjects) + rng.uniform(0.2, 0.8, data.subjects)) / data.subjects
    names = tuple(ACQUISITIONS)
    order = rng.permutation(data.subjects)
    made: list[Spec] = []
    for i, rank in enumerate(order):
        sides = np.maximum(MIN_SIDE, np.rint(np.array(data.shape) * rng.uniform(0.8, 1.15, 3))).astype(int)
        spacing = np.round(np.array(FIELD_MM) / sides, 3)
        mm3 = float(np.exp(low + places[rank] * (high - low)))
        made.append(Spec(
            id=f"sub-P{i + 1:03d}",
            session="ses-1",
            # Neighbours in size differ in acquisition: every quarter of the sizes has both.
            acquisition=names[int(rank) % len(names)],
            shape=(int(sides[0]), int(sides[1]), int(sides[2])),
            spacing_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
            axes=AXES[i % len(AXES)],
            lesion_voxels=max(1, round(mm3 / float(np.prod(spacing)))),
            seed=(data.seed, i),
        ))
    return tuple(made)


def render(spec: Spec) -> tuple[Floats, Mask, Affine]:
    """Image and lesion mask as stored (axes as `spec.axes` says), and their affine."""
    rng = np.random.default_rng(spec.seed)
    white, grey, fluid, skull, scalp, lesion, noise = ACQUISITIONS[spec.acquisition]
    place = _millimetres(spec)
    depth = _depth(place, spec, rng)
    inside = depth > 0
    image = np.zeros(spec.shape, dtype=np.float32)
    image[depth > -SHELL_MM["scalp"]] = scalp
    image[depth > -SHELL_MM["skull"]] = skull
    image[depth > -SHELL_MM["fluid"]] = fluid
    # Grey matter: a ribbon of uneven thickness under the surface, and islands in the depth.
    folds = _field(spec, rng, 6.0)
    cortex = inside & (depth < 6.0 + 5.0 * folds)
    image[inside] = white
    image[cortex | (inside & (_field(spec, rng, 9.0) > 1.1))] = grey
    ventricles = inside & _ventricles(place, rng)
    image[ventricles] = fluid
    image[_eyes(place, rng) & (depth < -1.0)] = EYES
    mask = _lesion(spec, place, inside & ~ventricles, rng)
    texture = rng.uniform(*LESION_BRIGHTNESS) + 0.05 * _field(spec, rng, 5.0)
    image = np.where(mask > 0, lesion * texture, image)
    # What a voxel of this size would blur.
    image = ndimage.gaussian_filter(image, 0.45)
    image *= 1.0 + 0.12 * _field(spec, rng, 60.0)
    shade = np.hypot(image + noise * rng.standard_normal(spec.shape), noise * rng.standard_normal(spec.shape))
    return _stored(spec, (shade * 1000.0 * rng.uniform(0.7, 1.4)).astype(np.float32), mask)


def write(data: Data, under: Path, progress: Callable[[int, int, str], None] = lambda *_: None) -> Path:
    """The folder of these phantoms below `under`, made if it is not there yet. A half-written one is never seen.

    `progress` is called with (done, total, id) before each head and after the last. Raises UsageError.
    """
    every = specs(data)
    final = folder_of(data, under)
    manifest = Manifest(version=VERSION, data=data, subjects=every)
    found = read_json(final / MANIFEST, Manifest)
    if found is not None and found.subjects == every:
        return final
    under.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    clean(under)
    if final.exists():
        shutil.rmtree(final)
    temporary = under / temporary_name(final.name)
    temporary.mkdir(mode=FOLDER_MODE)
    try:
        for done, spec in enumerate(every):
            progress(done, len(every), spec.id)
            image, mask, affine = render(spec)
            anat = Path(spec.id, spec.session, "anat")
            _save(temporary / anat / f"{spec.stem}.nii.gz", np.rint(image).astype(np.int16), affine)
            _save(temporary / MASKS / anat / f"{spec.stem}{MASK_ENDING}.nii.gz", mask, affine)
        write_json(temporary / MANIFEST, manifest)
        publish(temporary, final)
        progress(len(every), len(every), "")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final


def folder_of(data: Data, under: Path) -> Path:
    """Where these phantoms are or will be."""
    looks = (VERSION, LESION_MM3, MIN_LESION_VOXELS, FIELD_MM, BRAIN_MM, SHELL_MM, AXES, ACQUISITIONS)
    body = msgspec.json.encode((looks, data.subjects, data.shape, data.seed))
    return under / f"phantom-{hashlib.sha256(body).hexdigest()[:12]}"


def acquisition_name(spec: Spec) -> str:
    """As `discover` will read it from the file name."""
    return ACQUISITION_NAMES[spec.acquisition]


def _millimetres(spec: Spec) -> tuple[Floats, Floats, Floats]:
    """Open grids of x, y and z in mm from the centre of the field, to the right, front and top."""
    axes = [
        ((np.arange(n) - (n - 1) / 2) * s).astype(np.float32) for n, s in zip(spec.shape, spec.spacing_mm, strict=True)
    ]
    return axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]


def _field(spec: Spec, rng: np.random.Generator, smooth_mm: float) -> Floats:
    """Smooth noise with mean 0 and standard deviation 1."""
    sigma = [min(smooth_mm / s, n / 3) for s, n in zip(spec.spacing_mm, spec.shape, strict=True)]
    noise = rng.standard_normal(spec.shape).astype(np.float32)
    noise = ndimage.gaussian_filter(noise, sigma, mode="wrap", truncate=3.0)
    field: Floats = (noise - noise.mean()) / (noise.std() + np.float32(1e-9))
    return field


def _depth(place: tuple[Floats, Floats, Floats], spec: Spec, rng: np.random.Generator) -> Floats:
    """mm below the surface of the brain (negative outside): an ellipsoid with bumps, off-centre by some mm."""
    radius = np.array(BRAIN_MM) * rng.uniform(0.93, 1.03, 3)
    centre = rng.uniform(-4.0, 4.0, 3)
    r = np.sqrt(sum(((p - c) / a) ** 2 for p, c, a in zip(place, centre, radius, strict=True)))
    depth: Floats = ((1.0 - r) * radius.mean() + 1.5 * _field(spec, rng, 14.0)).astype(np.float32)
    return depth


def _ventricles(place: tuple[Floats, Floats, Floats], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Two curved horns beside the midline."""
    x, y, z = place
    wide = float(rng.uniform(0.8, 1.5))
    bent = z - 8.0 + (y / 34.0) ** 2 * 9.0
    squared = ((np.abs(x) - 11.0) / (6.0 * wide)) ** 2 + (y / 36.0) ** 2 + (bent / (7.0 * wide)) ** 2
    horns: NDArray[np.bool_] = squared < 1.0
    return horns


def _eyes(place: tuple[Floats, Floats, Floats], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Two balls in front, below the middle."""
    x, y, z = place
    apart, front, low = rng.uniform((28.0, 76.0, -36.0), (36.0, 82.0, -26.0))
    eyes: NDArray[np.bool_] = (np.abs(x) - apart) ** 2 + (y - front) ** 2 + (z - low) ** 2 < 12.0**2
    return eyes


def _lesion(
    spec: Spec, place: tuple[Floats, Floats, Floats], tissue: NDArray[np.bool_], rng: np.random.Generator
) -> Mask:
    """Exactly `lesion_voxels` voxels of tissue: those nearest to a random place, by a distance bent by noise."""
    candidates = np.argwhere(tissue)
    centre = candidates[rng.integers(len(candidates))]
    squeeze = rng.uniform(0.7, 1.4, 3)
    squared = sum(
        ((p - p.reshape(-1)[c]) * s) ** 2 for p, c, s in zip(place, centre, squeeze, strict=True)
    )
    distance = np.sqrt(squared) * np.exp(0.22 * _field(spec, rng, 9.0))
    distance = np.where(tissue, distance, np.inf).reshape(-1)
    count = min(spec.lesion_voxels, len(candidates) // 2)
    mask = np.zeros(distance.size, dtype=np.uint8)
    mask[np.argpartition(distance, count - 1)[:count]] = 1
    return mask.reshape(spec.shape)


def _stored(spec: Spec, image: Floats, mask: Mask) -> tuple[Floats, Mask, Affine]:
    """From R, A, S to the axes this head is stored in, with the affine that says so."""
    turn = orientations.ornt_transform(orientations.axcodes2ornt("RAS"), orientations.axcodes2ornt(spec.axes))
    affine = np.diag([*spec.spacing_mm, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * s for n, s in zip(spec.shape, spec.spacing_mm, strict=True)]
    affine = affine @ orientations.inv_ornt_aff(turn, spec.shape)
    return orientations.apply_orientation(image, turn), orientations.apply_orientation(mask, turn), affine


def _save(path: Path, voxels: NDArray[np.generic], affine: Affine) -> None:
    """As .nii.gz without a time stamp in it: the same phantom is the same file."""
    path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    volume = nibabel.Nifti1Image(voxels, affine)
    volume.header.set_xyzt_units("mm")
    with path.open("xb") as file:
        file.write(gzip.compress(volume.to_bytes(), compresslevel=1, mtime=0))
        file.flush()
        os.fsync(file.fileno())
