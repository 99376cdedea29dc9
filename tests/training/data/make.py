"""Small real NIfTI files for tests, good ones and every kind of bad one."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
from nibabel import orientations
from numpy.typing import NDArray

SHAPE = (20, 24, 18)


def head(shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> NDArray[np.int16]:
    """Noise with a ramp, so that every axis can be told from the others and from its reverse."""
    rng = np.random.default_rng(seed)
    ramp = np.add.outer(np.add.outer(np.arange(shape[0]) * 7, np.arange(shape[1]) * 3), np.arange(shape[2]))
    return (ramp + rng.integers(0, 5, shape)).astype(np.int16)


def blob(shape: tuple[int, int, int] = SHAPE, side: int = 5, corner: tuple[int, int, int] = (6, 7, 5)) -> NDArray[np.uint8]:
    mask = np.zeros(shape, dtype=np.uint8)
    mask[tuple(slice(c, c + side) for c in corner)] = 1
    return mask


def affine(spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> NDArray[np.float64]:
    matrix = np.diag([*spacing, 1.0])
    matrix[:3, 3] = (-10.0, 5.0, -3.0)
    return matrix


def save(
    path: Path, voxels: NDArray[np.generic], matrix: NDArray[np.float64] | None = None, axes: str = "RAS",
    slope: tuple[float, float] | None = None,
) -> Path:
    """`voxels` are given R, A, S and stored along `axes`; the affine says so."""
    matrix = affine() if matrix is None else matrix
    turn = orientations.ornt_transform(orientations.axcodes2ornt("RAS"), orientations.axcodes2ornt(axes))
    stored = orientations.apply_orientation(voxels, turn)
    image = nibabel.Nifti1Image(stored, matrix @ orientations.inv_ornt_aff(turn, voxels.shape))
    image.header.set_data_dtype(voxels.dtype)
    data = bytearray(image.to_bytes())
    if slope:
        data[112:120] = np.array(slope, dtype="<f4").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(bytes(data), 1) if path.name.endswith(".gz") else bytes(data))
    return path


def pair(
    folder: Path, name: str, seed: int = 0, side: int = 5, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    axes: str = "RAS", shape: tuple[int, int, int] = SHAPE,
) -> tuple[Path, Path]:
    """images/NAME.nii.gz and labels/NAME.nii.gz."""
    return (
        save(folder / "images" / f"{name}.nii.gz", head(shape, seed), affine(spacing), axes),
        save(folder / "labels" / f"{name}.nii.gz", blob(shape, side), affine(spacing), axes),
    )


def patch(path: Path, offset: int, data: bytes) -> Path:
    """Overwrite bytes of the (decompressed) volume at `offset`, as a faulty converter would."""
    zipped = path.name.endswith(".gz")
    content = bytearray(gzip.decompress(path.read_bytes()) if zipped else path.read_bytes())
    content[offset : offset + len(data)] = data
    path.write_bytes(gzip.compress(bytes(content), 1) if zipped else bytes(content))
    return path
