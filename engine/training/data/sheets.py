"""Scrolls that never were: volumes of wound sheets with one side of each labelled, made from a seed, written as TIFF.

As in the surface detection of the Vesuvius Challenge: papyrus some voxels thick in layers that bend, come close and
have holes; of each layer the inner side is the surface (label 1), two voxels thick; what nobody has labelled is 2. Each
layer grows brighter towards that side: which of its two sides it is can be told from a few voxels.

    FOLDER/images/sheet-001.tif   uint8, (D, H, W), uncompressed
    FOLDER/labels/sheet-001.tif   uint8: 0, 1, and 2 for what is not labelled
    FOLDER/sheets.json            written last: what the folder holds

[data.options]: `pitch` and `thickness` of layers in voxels, `unlabelled` the share that is 2, `noise` its deviation.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.config.tables import Data
from engine.errors import UsageError, unknown
from engine.paths import FOLDER_MODE, read_json, write_json
from engine.training.data.cache import clean, publish, temporary_name

VERSION = 1
MANIFEST = "sheets.json"
UNLABELLED = 2
OPTIONS = {"pitch": 12.0, "thickness": 5.0, "unlabelled": 0.4, "noise": 0.08}
SURFACE_VOXELS = 2.0
MIN_SIDE = 16
# Of the image, 0 to 1: between layers, a layer's outer and inner side.
EMPTY, OUTER, INNER = 0.15, 0.5, 0.85
# A layer is missing where smooth noise of deviation 1 is above: 7 % of it.
HOLE = 1.5

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    data: Data


def check(data: Data) -> dict[str, float]:
    """The options, defaults filled in. Raises UsageError for what cannot be made."""
    for name in data.options:
        if name not in OPTIONS:
            raise unknown("option", name, OPTIONS, "[data.options]")
    found = {**OPTIONS, **data.options}
    rules = (
        (data.subjects >= 2, "data.subjects", "2 or more: one part is held out"),
        (min(data.shape) >= MIN_SIDE, "data.shape", f"{MIN_SIDE} voxels or more on every side"),
        (found["pitch"] > found["thickness"] > SURFACE_VOXELS, "data.options", "pitch > thickness > 2 voxels"),
        (0 <= found["unlabelled"] < 0.9, "data.options.unlabelled", "0 up to 0.9"),
    )
    for holds, field, right in rules:
        if not holds:
            raise UsageError(f"[data] source = \"sheets\": {field} must be {right}")
    return found


def names(data: Data) -> tuple[str, ...]:
    return tuple(f"sheet-{i + 1:03d}" for i in range(data.subjects))


def render(data: Data, number: int) -> tuple[Bytes, Bytes]:
    """Image and label of one volume: the same for the same seed, number, shape and options."""
    options = check(data)
    rng = np.random.default_rng((data.seed, number))
    normal = rng.normal(0.0, 0.25, 3) + np.eye(3)[int(rng.integers(3))]
    normal /= np.linalg.norm(normal)
    grid = np.ogrid[tuple(slice(n) for n in data.shape)]
    pitch, thickness = options["pitch"] * rng.uniform(0.9, 1.1), options["thickness"]
    along = sum(float(n) * axis for n, axis in zip(normal, grid, strict=True)) + rng.uniform(0, pitch)
    along = along + 3.0 * _smooth(data.shape, rng, 16.0) + 0.4 * _smooth(data.shape, rng, 4.0)
    above = np.mod(along, pitch).astype(np.float32)
    there = (above < thickness) & (_smooth(data.shape, rng, 6.0) < HOLE)
    surface = there & (above >= thickness - SURFACE_VOXELS)
    image = np.where(there, OUTER + (INNER - OUTER) * above / thickness, EMPTY)
    image = image * (1.0 + 0.12 * _smooth(data.shape, rng, 20.0)) + 0.05 * _smooth(data.shape, rng, 1.5)
    image = ndimage.gaussian_filter(image, 0.6) + options["noise"] * rng.standard_normal(data.shape)
    label = surface.astype(np.uint8)
    hidden = _smooth(data.shape, rng, 12.0)
    share = options["unlabelled"]
    if share:
        label[hidden < np.quantile(hidden, share)] = UNLABELLED
    return np.clip(image * 255, 0, 255).astype(np.uint8), label


def write(data: Data, under: Path, progress: Callable[[int, int, str], None] = lambda *_: None) -> Path:
    """The folder of these volumes below `under`, made if it is not there yet. A half-written one is never seen.

    `progress` is called with (done, total, name) before each volume and after the last. Raises UsageError.
    """
    import tifffile

    check(data)
    final = folder_of(data, under)
    manifest = Manifest(version=VERSION, data=data)
    if read_json(final / MANIFEST, Manifest) == manifest:
        return final
    under.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    clean(under)
    if final.exists():
        shutil.rmtree(final)
    temporary = under / temporary_name(final.name)
    try:
        for kind in ("images", "labels"):
            (temporary / kind).mkdir(mode=FOLDER_MODE, parents=True)
        every = names(data)
        for done, name in enumerate(every):
            progress(done, len(every), name)
            for kind, voxels in zip(("images", "labels"), render(data, done), strict=True):
                with (temporary / kind / f"{name}.tif").open("xb") as file:
                    tifffile.imwrite(file, voxels, photometric="minisblack")
                    file.flush()
                    os.fsync(file.fileno())
        write_json(temporary / MANIFEST, manifest)
        publish(temporary, final)
        progress(len(every), len(every), "")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final


def folder_of(data: Data, under: Path) -> Path:
    """Where these volumes are or will be."""
    body = msgspec.json.encode((VERSION, data.subjects, data.shape, data.seed, sorted(check(data).items())))
    return under / f"sheets-{hashlib.sha256(body).hexdigest()[:12]}"


def _smooth(shape: tuple[int, int, int], rng: np.random.Generator, voxels: float) -> Floats:
    """Smooth noise with mean 0 and deviation 1."""
    sigma = [min(voxels, n / 3) for n in shape]
    noise = ndimage.gaussian_filter(rng.standard_normal(shape).astype(np.float32), sigma, mode="mirror", truncate=3.0)
    found: Floats = (noise - noise.mean()) / (noise.std() + np.float32(1e-9))
    return found
