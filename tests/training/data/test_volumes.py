"""Reading volumes that may be damaged: every fault names the file and the remedy, and nothing huge is allocated."""

from __future__ import annotations

import gzip
import os
import struct
import tracemalloc
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest

from engine.errors import DataError
from engine.training.data.volumes import CHUNK, digest, lesions, read_header, read_pair, read_raw, scaled
from tests.training.data.make import affine, blob, head, pair, patch, save

DIM, DATATYPE, BITPIX, PIXDIM, OFFSET, SLOPE, SROW = 40, 70, 72, 76, 108, 112, 280


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i2", "u2", "i4", "u4", "i8", "f4", ">f4", "f8"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_every_number_type_reads_as_nibabel_reads_it(tmp_path: Path, dtype: str, suffix: str) -> None:
    voxels = (head() % 100).astype(dtype)
    path = tmp_path / f"v{suffix}"
    image = nibabel.Nifti1Image(voxels, affine(), dtype=voxels.dtype)
    image.header.set_data_dtype(voxels.dtype)
    nibabel.save(image.as_reoriented(np.array([[0, 1], [1, 1], [2, 1]])), path)
    raw = read_raw(path)
    assert np.array_equal(raw.voxels, np.asarray(nibabel.load(path).dataobj))
    assert raw.header == read_header(path)
    assert raw.sha256 == digest(path)


def test_a_nifti_2_volume_reads_too(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti2Image(head(), affine((1.0, 2.0, 3.0))), tmp_path / "v.nii.gz")
    raw = read_raw(tmp_path / "v.nii.gz")
    assert np.array_equal(raw.voxels, head())
    assert raw.header.spacing_mm == (1.0, 2.0, 3.0)


def test_a_big_endian_header_reads_too(tmp_path: Path) -> None:
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    nibabel.save(nibabel.Nifti1Image(head(), affine(), header), tmp_path / "v.nii")
    assert read_raw(tmp_path / "v.nii").header.dtype == ">i2"
    assert np.array_equal(read_raw(tmp_path / "v.nii").voxels, head())


def test_several_gzip_members_and_padding_are_one_file(tmp_path: Path) -> None:
    whole = gzip.decompress(save(tmp_path / "v.nii.gz", head()).read_bytes())
    path = tmp_path / "w.nii.gz"
    path.write_bytes(b"".join(gzip.compress(whole[i : i + 5000]) for i in range(0, len(whole), 5000)) + b"\0" * 512)
    assert np.array_equal(read_raw(path).voxels, head())


def test_a_trailing_dimension_of_one_is_dropped(tmp_path: Path) -> None:
    path = save(tmp_path / "v.nii.gz", head())
    patch(path, DIM, struct.pack("<8h", 5, 20, 24, 18, 1, 1, 1, 1))
    assert read_raw(path).voxels.shape == (20, 24, 18)


def test_slope_and_intercept_are_applied_to_the_image(tmp_path: Path) -> None:
    path = save(tmp_path / "v.nii.gz", head(), slope=(0.5, 10.0))
    assert np.allclose(scaled(path, read_raw(path)), head() * 0.5 + 10.0)


def test_a_mask_stored_with_a_tiny_slope_is_still_a_mask(tmp_path: Path) -> None:
    path = save(tmp_path / "m.nii.gz", blob(), slope=(0.017, 0.0))
    assert np.array_equal(lesions(path, read_raw(path)).mask, blob())


def test_a_mask_of_several_values_is_a_lesion_wherever_it_is_above_0(tmp_path: Path) -> None:
    voxels = blob().astype(np.int16) * 3
    voxels[6, 7, 5] = 1
    path = save(tmp_path / "m.nii", voxels)
    found = lesions(path, read_raw(path))
    assert np.array_equal(found.mask, blob()) and found.values == (1.0, 3.0)


def test_a_slope_that_leaves_whole_numbers_a_little_off_leaves_them_whole_numbers(tmp_path: Path) -> None:
    voxels = blob().astype(np.int16) * 510
    voxels[6, 7, 5] = 255
    path = save(tmp_path / "m.nii", voxels, slope=(1 / 255, 0.0))
    assert lesions(path, read_raw(path)).values == (1.0, 2.0)


@pytest.mark.parametrize(
    ("voxels", "said"),
    [
        (np.random.default_rng(0).random((20, 24, 18), np.float32), r"holds .*, …, no whole numbers.*write 0 and 1"),
        (blob() + np.float32(1e-6), r"holds 1e-06, no whole numbers.*All above 0 \(100% of the volume\)"),
        (blob().astype(np.float32) * 0.5 + (head() > 100), r"holds 0\.5, 1\.5, no whole numbers"),
        (blob().astype(np.int16) - (head() < 10), r"holds -1 \([\d,]+ voxels\); right are 0 for background"),
        (np.full((20, 24, 18), 2, np.uint8), r"no background, every voxel is above 0; pass a label that is 0"),
        (blob() + np.uint8(1), r"no background, every voxel is above 0"),
    ],
)
def test_a_label_that_is_no_mask_is_refused_with_what_would_be_right(
    tmp_path: Path, voxels: np.ndarray, said: str
) -> None:
    image, label = pair(tmp_path, "s")
    save(label, voxels)
    with pytest.raises(DataError, match=r"labels/s\.nii\.gz.*" + said):
        read_pair(image, label)


# ---------------------------------------------------------------- what is refused, and how it is said


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_bytes(gzip.compress(b"version https://git-lfs.github.com/spec/v1\n" * 20))


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _trailer(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8] + b"\1\2\3\4" + path.read_bytes()[-4:])


def _length(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4] + struct.pack("<I", 7))


def _junk(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"junk after the end")


def _longer(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b"\0" * 64))


def _shorter(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-64]))


def _not_zipped(path: Path) -> None:
    path.write_bytes(gzip.decompress(path.read_bytes()))


BAD = {
    "an empty file": (_empty, "the file is empty", "copy or convert it again"),
    "a pointer to large file storage": (_text, "not a NIfTI volume", ".nii.gz file is needed"),
    "half a download": (_half, "cut short", "fetch it again"),
    "a wrong checksum": (_trailer, "incorrect data check", "fetch or convert it again"),
    "a wrong length": (_length, "incorrect length check", "fetch or convert it again"),
    "junk at the end": (_junk, "damaged", "fetch or convert it again"),
    "more voxels than promised": (_longer, "it holds more than", "copy or convert it again"),
    "fewer voxels than promised": (_shorter, "it holds only", "copy or convert it again"),
    "a name that lies": (_not_zipped, "is not gzip, though its name ends in .gz", "needed"),
    "giant dimensions": (lambda p: patch(p, DIM, struct.pack("<4h", 3, 32767, 32767, 32767)), "cannot unpack", "again"),
    "a negative dimension": (lambda p: patch(p, DIM, struct.pack("<4h", 3, -4, 24, 18)), "dimensions", "convert it again"),
    "no dimension": (lambda p: patch(p, DIM, struct.pack("<h", 0)), "dimensions", "convert it again"),
    "nine dimensions": (lambda p: patch(p, DIM, struct.pack("<h", 9)), "dimensions", "convert it again"),
    "a series": (lambda p: patch(p, DIM, struct.pack("<5h", 4, 20, 24, 9, 2)), "4 dimensions", "take one volume"),
    "a slice": (lambda p: patch(p, DIM, struct.pack("<4h", 2, 20, 432, 1)), "2 dimensions", "a whole head is needed"),
    "colour": (lambda p: patch(p, DATATYPE, struct.pack("<2h", 128, 24)), "voxels of type 128", "floats are needed"),
    "complex numbers": (lambda p: patch(p, DATATYPE, struct.pack("<2h", 32, 64)), "voxels of type 32", "needed"),
    "an unknown type": (lambda p: patch(p, DATATYPE, struct.pack("<h", 999)), "voxels of type 999", "needed"),
    "a type that its bits deny": (lambda p: patch(p, DATATYPE, struct.pack("<h", 16)), "float32 but 16 bits", "again"),
    "voxels in the header": (lambda p: patch(p, OFFSET, struct.pack("<f", 100.0)), "inside the header", "again"),
    "an offset that is no number": (lambda p: patch(p, OFFSET, struct.pack("<f", np.nan)), "makes no sense", "again"),
    "an infinite intercept": (lambda p: patch(p, SLOPE, struct.pack("<2f", 1.0, np.inf)), "makes no sense", "again"),
    "a place that is no number": (lambda p: patch(p, SROW, struct.pack("<f", np.nan)), "NaN", "again"),
    "a flat place": (lambda p: patch(p, SROW, struct.pack("<4f", 0, 1, 0, 0)), "independent axes", "again"),
    "metres for millimetres": (
        lambda p: patch(p, SROW, struct.pack("<12f", 1e-3, 0, 0, 0, 0, 1e-3, 0, 0, 0, 0, 1e-3, 0)), "0.001", "units mm?"
    ),
    "half of a pair": (lambda p: patch(p, 344, b"ni1\0"), ".hdr/.img pair", "one .nii.gz"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_volume_is_refused_with_its_name_its_fault_and_a_remedy(tmp_path: Path, what: str) -> None:
    damage, fault, remedy = BAD[what]
    path = save(tmp_path / "bad \x1b[31m.nii.gz", head())
    damage(path)
    with pytest.raises(DataError) as caught:
        read_raw(path)
    message = str(caught.value)
    assert r"bad \x1b[31m.nii.gz" in message and "\x1b" not in message
    assert fault in message, message
    assert remedy in message, message


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda data: data[:-1], "the file has"),
        (lambda data: data[:200], "not a NIfTI volume"),
        (lambda data: data + b"\0", "the file has"),
        (lambda data: b"\x1f\x8b" + data[2:], "is gzip, though its name does not end in .gz"),
    ],
)
def test_an_uncompressed_volume_must_have_just_the_size_its_header_promises(tmp_path: Path, change, fault: str) -> None:
    path = save(tmp_path / "v.nii", head())
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=fault):
        read_header(path)


def test_what_is_no_file_is_said_to_be_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.nii.gz")
    (tmp_path / "folder.nii.gz").mkdir()
    (tmp_path / "annexed.nii.gz").symlink_to(tmp_path / ".git/annex/objects/x")
    for name, fault in (
        ("pipe", "not a regular file"), ("folder", "not a regular file"), ("annexed", "datalad get"), ("none", "no such file"),
    ):
        with pytest.raises(DataError, match=fault):
            read_raw(tmp_path / f"{name}.nii.gz")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_volume_with_nan_or_infinite_voxels_is_refused_with_their_number(tmp_path: Path, value: float) -> None:
    image, label = pair(tmp_path, "s")
    voxels = head().astype(np.float32)
    voxels[3, 3, 3] = voxels[4, 4, 4] = value
    save(image, voxels)
    with pytest.raises(DataError, match=r"images/s\.nii\.gz.*2 of 8,640 voxels are NaN or infinite; write a finite value"):
        read_pair(image, label)


def test_numbers_too_large_for_float32_are_refused_like_infinite_ones(tmp_path: Path) -> None:
    path = save(tmp_path / "v.nii.gz", np.full((8, 8, 8), 1e300))
    with pytest.raises(DataError, match="512 of 512 voxels are NaN or infinite"):
        scaled(path, read_raw(path))


def test_an_image_without_a_picture_is_refused(tmp_path: Path) -> None:
    image, label = pair(tmp_path, "s")
    save(image, np.full((20, 24, 18), 7, dtype=np.int16))
    with pytest.raises(DataError, match=r"every voxel is 7: no picture"):
        read_pair(image, label)


def test_an_empty_mask_is_refused_with_the_remedy(tmp_path: Path) -> None:
    image, label = pair(tmp_path, "s")
    save(label, np.zeros((20, 24, 18), dtype=np.uint8))
    with pytest.raises(DataError, match=r"labels/s\.nii\.gz.*mask is empty.*remove the subject, or pass a label"):
        read_pair(image, label)


def test_a_label_of_another_shape_is_refused_naming_both(tmp_path: Path) -> None:
    image, label = pair(tmp_path, "s")
    save(label, blob((20, 24, 17)))
    with pytest.raises(DataError, match=r"labels/s.*20 × 24 × 17.*images/s.*20 × 24 × 18; resample the label"):
        read_pair(image, label)


def test_a_label_that_lies_elsewhere_is_refused_with_the_distance(tmp_path: Path) -> None:
    image, label = pair(tmp_path, "s")
    moved = affine()
    moved[0, 3] += 12.0
    save(label, blob(), moved)
    with pytest.raises(DataError, match=r"lies up to 12\.0 mm from its image"):
        read_pair(image, label)
    moved[0, 3] -= 11.6
    save(label, blob(), moved)
    assert read_pair(image, label).mask.sum() == 125


# ---------------------------------------------------------------- damage by chance


def test_a_truncation_at_any_place_is_noticed(tmp_path: Path) -> None:
    """Cut anywhere, the file is refused; a cut that only takes padding away cannot happen, there is none."""
    whole = save(tmp_path / "v.nii.gz", head()).read_bytes()
    cut = tmp_path / "cut.nii.gz"
    places = sorted({*range(40), *range(40, len(whole), max(1, len(whole) // 150)), *range(len(whole) - 12, len(whole))})
    for place in places:
        cut.write_bytes(whole[:place])
        with pytest.raises(DataError):
            read_raw(cut)


def test_a_flipped_bit_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    """The only bits of a .nii.gz that no checksum covers are in gzip's own header: time, system, name."""
    path = save(tmp_path / "v.nii.gz", head())
    whole = path.read_bytes()
    good = read_raw(path)
    rng = np.random.default_rng(3)
    places = [*range(10 * 8), *rng.integers(0, len(whole) * 8, 300).tolist()]
    noticed = 0
    for place in places:
        data = bytearray(whole)
        data[place // 8] ^= 1 << place % 8
        path.write_bytes(bytes(data))
        try:
            raw = read_raw(path)
        except DataError as error:
            assert "v.nii.gz" in str(error)
            noticed += 1
        else:
            assert raw.header == good.header and np.array_equal(raw.voxels, good.voxels)
    assert noticed > 300


def test_a_header_full_of_random_bytes_is_refused_or_read_but_never_worse(tmp_path: Path) -> None:
    """Fields that a checksum vouches for may still be nonsense: a converter wrote them so."""
    path = save(tmp_path / "v.nii", head())
    whole = path.read_bytes()
    rng = np.random.default_rng(4)
    for _ in range(400):
        data = bytearray(whole)
        start = int(rng.integers(4, 340))
        data[start : start + 8] = rng.bytes(8)
        path.write_bytes(bytes(data))
        try:
            raw = read_raw(path)
        except DataError:
            continue
        assert raw.voxels.size * raw.voxels.itemsize <= len(whole)


def test_a_giant_claim_allocates_nothing_giant(tmp_path: Path) -> None:
    """Deflate may shrink a thousandfold, so a file may rightly promise much; only what it holds is allocated."""
    path = save(tmp_path / "v.nii.gz", head((128, 128, 128)))
    real = 352 + 128**3 * 2
    patch(path, DIM, struct.pack("<4h", 3, 512, 512, 512))
    promised = 512**3 * 2
    assert promised < path.stat().st_size * 1032, "the claim must be one that deflate could keep"
    tracemalloc.start()
    with pytest.raises(DataError, match="holds only"):
        read_raw(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.2 * real + 6 * CHUNK < promised / 10


def test_a_gzip_bomb_stops_at_what_the_header_promised(tmp_path: Path) -> None:
    path = save(tmp_path / "v.nii.gz", head())
    pack = zlib.compressobj(9, wbits=31)
    body = pack.compress(gzip.decompress(path.read_bytes()))
    body += b"".join(pack.compress(bytes(1 << 20)) for _ in range(256)) + pack.flush()
    path.write_bytes(body)
    assert path.stat().st_size < 400_000
    tracemalloc.start()
    with pytest.raises(DataError, match="holds more than"):
        read_raw(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20
