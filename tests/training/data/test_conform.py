"""Volumes become one orientation, one spacing, one shape, 0 to 1."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

from engine.config.tables import Prepare
from engine.errors import DataError, UsageError
from engine.training.data.conform import ORIENTATIONS, check_prepare, conform, fit, min_max, reorient
from tests.training.data.make import affine, blob, head

AXES = st.sampled_from(sorted(ORIENTATIONS))


def stored(axes: str, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)):
    """The same head and lesion, stored along other axes."""
    to = nibabel.orientations.ornt_transform(
        nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(axes)
    )
    image = nibabel.Nifti1Image(head().astype(np.float32), affine(spacing)).as_reoriented(to)
    mask = nibabel.Nifti1Image(blob(), affine(spacing)).as_reoriented(to)
    return np.asarray(image.dataobj), np.asarray(mask.dataobj), image.affine


def test_there_are_48_orientations() -> None:
    assert len(set(ORIENTATIONS)) == 48 and {"RAS", "LPS", "PIR", "SAL"} <= set(ORIENTATIONS)


@given(axes=AXES)
@settings(max_examples=48, deadline=None)
def test_however_a_head_is_stored_it_comes_out_the_same(axes: str) -> None:
    prepare = Prepare(spacing_mm=1.0, shape=(24, 24, 24))
    expected = conform(*stored("RAS"), prepare)
    got = conform(*stored(axes), prepare)
    assert np.array_equal(got.image, expected.image) and np.array_equal(got.label, expected.label)


@given(axes=AXES)
@settings(max_examples=10, deadline=None)
def test_ras_is_what_nibabel_calls_canonical(axes: str) -> None:
    image, mask, matrix = stored(axes, (1.0, 2.0, 3.0))
    turned, _, spacing = reorient(image, mask, matrix, "RAS")
    canonical = nibabel.as_closest_canonical(nibabel.Nifti1Image(image, matrix))
    assert np.array_equal(turned, np.asarray(canonical.dataobj))
    assert spacing == (1.0, 2.0, 3.0)


def test_prepared_arrays_are_what_a_trainer_maps_into_memory() -> None:
    done = conform(*stored("PIR"), Prepare(spacing_mm=1.0, shape=(32, 16, 24)))
    assert done.image.shape == done.label.shape == (32, 16, 24)
    assert done.image.dtype == np.float32 and done.label.dtype == np.uint8
    assert done.image.flags.c_contiguous and done.label.flags.c_contiguous
    assert done.image.min() == 0.0 and done.image.max() == 1.0
    assert set(np.unique(done.label)) == {0, 1}


def test_a_lesion_keeps_its_size_in_mm_when_voxels_change() -> None:
    image, mask, matrix = stored("RAS", (2.0, 2.0, 2.0))
    done = conform(image, mask, matrix, Prepare(spacing_mm=1.0, shape=(64, 64, 64)))
    assert done.kept == 1.0
    assert abs(int(done.label.sum()) - int(mask.sum()) * 8) < 0.3 * mask.sum() * 8


def test_a_lesion_half_outside_is_cut_and_the_share_is_told() -> None:
    mask = np.zeros((20, 24, 18), dtype=np.uint8)
    mask[:, 10:14, 8:10] = 1
    done = conform(head().astype(np.float32), mask, affine(), Prepare(spacing_mm=1.0, shape=(10, 24, 18)))
    assert done.kept == 0.5


def test_a_lesion_wholly_outside_is_refused_with_the_remedy() -> None:
    mask = blob(side=2, corner=(0, 0, 0))
    with pytest.raises(DataError, match=r"outside the prepared shape.*set a larger prepare\.shape"):
        conform(head().astype(np.float32), mask, affine(), Prepare(spacing_mm=1.0, shape=(8, 8, 8)))


def test_a_lesion_lost_between_voxels_is_refused_with_the_remedy() -> None:
    mask = blob(side=1, corner=(7, 8, 6))
    with pytest.raises(DataError, match=r"falls between voxels of 6 mm.*set a finer prepare\.spacing_mm"):
        conform(head().astype(np.float32), mask, affine(), Prepare(spacing_mm=6.0, shape=(8, 8, 8)))


def test_an_absurd_size_is_refused_before_it_is_allocated() -> None:
    with pytest.raises(DataError, match=r"it would be 40000 × 48000 × 36000 voxels"):
        conform(head().astype(np.float32), blob(), affine((20.0, 20.0, 20.0)), Prepare(spacing_mm=0.01))


def test_intensities_can_be_left_as_they_are() -> None:
    image = head().astype(np.float32)
    done = conform(image, blob(), affine(), Prepare(spacing_mm=1.0, shape=(20, 24, 18), intensity="none"))
    assert np.array_equal(done.image, image)


def test_padding_is_as_dark_as_the_darkest_voxel() -> None:
    image = head().astype(np.float32) - 1000.0
    done = conform(image, blob(), affine(), Prepare(spacing_mm=1.0, shape=(40, 40, 40)))
    assert done.image[0, 0, 0] == 0.0 and done.image[-1, -1, -1] == 0.0


@pytest.mark.parametrize("axes", ["RAX", "RRS", "", "ras", "RA"])
def test_an_orientation_that_is_none_is_a_usage_error(axes: str) -> None:
    with pytest.raises(UsageError, match="as in RAS"):
        check_prepare(Prepare(orientation=axes))


@given(
    have=st.tuples(*[st.integers(1, 12)] * 3), want=st.tuples(*[st.integers(1, 12)] * 3),
)
@settings(max_examples=100, deadline=None)
def test_fitting_keeps_the_centre_and_fitting_back_restores_what_was_kept(
    have: tuple[int, int, int], want: tuple[int, int, int]
) -> None:
    volume = np.arange(1, 1 + int(np.prod(have)), dtype=np.float32).reshape(have)
    fitted = fit(volume, want, 0.0)
    assert fitted.shape == want
    kept = int(np.prod([min(h, w) for h, w in zip(have, want, strict=True)]))
    assert np.count_nonzero(fitted) == kept
    again = fit(fitted, have, 0.0)
    same = again != 0
    assert np.array_equal(again[same], volume[same])
    if all(w >= h for h, w in zip(have, want, strict=True)):
        assert np.array_equal(again, volume)


@example([0.0, 1.401298464324817e-45])
@given(st.lists(st.floats(-(2.0**126), 2.0**126, width=32), min_size=2, max_size=30).filter(lambda v: max(v) > min(v)))
@settings(max_examples=200, deadline=None)
def test_min_max_spans_0_to_1_and_keeps_the_order(values: list[float]) -> None:
    volume = np.array(values, dtype=np.float32).reshape(-1, 1, 1)
    try:
        scaled = min_max(volume.copy())
    except DataError:
        assert volume.max() - volume.min() < 1e-37
        return
    assert np.isfinite(scaled).all() and scaled.min() >= 0.0 and scaled.max() <= 1.0
    order = np.argsort(volume, axis=None, kind="stable")
    assert (np.diff(scaled.reshape(-1)[order]) >= 0).all()
    if volume.max() - volume.min() > 1e-30:
        assert scaled.min() == 0.0 and scaled.max() > 0.999999
