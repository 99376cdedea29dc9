"""Which image belongs to which label, and what is said when that cannot be told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.config.tables import Data
from engine.errors import DataError, UsageError
from engine.training.data.discover import find

ARC = Data(source="bids")
PAIRS = Data(source="pairs")


def touch(root: Path, *names: str) -> Path:
    """Discovery looks at names only."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def arc(root: Path, sub: str, ses: str, rest: str, masked: bool = True) -> None:
    stem = f"sub-{sub}_ses-{ses}_{rest}_T2w"
    touch(root, f"sub-{sub}/ses-{ses}/anat/{stem}.nii.gz")
    if masked:
        touch(root, f"derivatives/lesion_masks/sub-{sub}/ses-{ses}/anat/{stem}_desc-lesion_mask.nii.gz")


def test_a_tree_like_arc_gives_masked_space_images_with_their_acquisition(tmp_path: Path) -> None:
    arc(tmp_path, "M2005", "4334", "acq-spc3p2_run-7")
    arc(tmp_path, "M2001", "1253", "acq-spc3_run-3")
    arc(tmp_path, "M2002", "1441", "acq-tse3_run-4")
    arc(tmp_path, "M2039", "1222", "acq-spc3_run-2", masked=False)
    touch(tmp_path, "sub-M2005/ses-4334/anat/sub-M2005_ses-4334_acq-tfl3_run-2_T1w.nii.gz", "participants.tsv")
    found = find(ARC, tmp_path)
    assert [(c.id, c.acquisition, c.group) for c in found.cases] == [
        ("sub-M2001_ses-1253", "space_no_accel", "sub-M2001"),
        ("sub-M2005_ses-4334", "space_2x", "sub-M2005"),
    ]
    assert found.cases[0].image.name == "sub-M2001_ses-1253_acq-spc3_run-3_T2w.nii.gz"
    assert found.cases[0].label.name == "sub-M2001_ses-1253_acq-spc3_run-3_T2w_desc-lesion_mask.nii.gz"
    assert found.warnings == (
        "1 turbo spin echo volume left out: another contrast than SPACE",
        "1 T2w image without a lesion mask left out",
    )


def test_sessions_may_be_missing_and_masks_may_be_named_as_bids_would(tmp_path: Path) -> None:
    touch(
        tmp_path, "sub-1/anat/sub-1_T2w.nii", "derivatives/lesion_masks/sub-1/anat/sub-1_desc-lesion_mask.nii.gz",
        "sub-2/anat/sub-2_acq-new_T2w.nii.gz", "derivatives/lesion_masks/sub-2/anat/sub-2_acq-new_desc-lesion_mask.nii",
    )
    assert [(c.id, c.acquisition) for c in find(ARC, tmp_path).cases] == [("sub-1", ""), ("sub-2", "new")]


def test_two_masks_of_one_session_are_told_apart_and_stay_one_person(tmp_path: Path) -> None:
    arc(tmp_path, "1", "a", "acq-spc3_run-1")
    arc(tmp_path, "1", "a", "acq-spc3_run-2")
    found = find(ARC, tmp_path)
    assert [c.id for c in found.cases] == ["sub-1_ses-a_acq-spc3_run-1", "sub-1_ses-a_acq-spc3_run-2"]
    assert {c.group for c in found.cases} == {"sub-1"}


def test_another_contrast_can_be_asked_for(tmp_path: Path) -> None:
    touch(tmp_path, "sub-1/anat/sub-1_T1w.nii.gz", "derivatives/lesion_masks/sub-1/anat/sub-1_T1w_desc-lesion_mask.nii.gz")
    assert find(Data(source="bids", image="T1w"), tmp_path).cases[0].image.name == "sub-1_T1w.nii.gz"
    with pytest.raises(DataError, match="holds 0 images"):
        find(ARC, tmp_path)


def test_masks_without_their_images_are_named(tmp_path: Path) -> None:
    for n in range(8):
        arc(tmp_path, str(n), "1", "acq-spc3")
    for n in range(1, 8):
        (tmp_path / f"sub-{n}/ses-1/anat/sub-{n}_ses-1_acq-spc3_T2w.nii.gz").unlink()
    with pytest.raises(DataError, match=r"7 lesion masks \(.*sub-1.*sub-5.* and 2 more\) without the image"):
        find(ARC, tmp_path)


def test_another_number_of_subjects_than_the_study_had_is_a_warning(tmp_path: Path) -> None:
    arc(tmp_path, "1", "1", "acq-spc3")
    found = find(Data(source="bids", subjects=223), tmp_path)
    assert "223 subjects were expected" in found.warnings[-1] and "1 are there" in found.warnings[-1]


def test_a_folder_of_pairs_serves_where_a_tree_is_expected(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.nii.gz", "labels/a.nii.gz")
    assert [c.id for c in find(Data(source="bids", subjects=223), tmp_path).cases] == ["a"]


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (("images/b.nii.gz", "labels/b.nii.gz", "images/a.nii", "labels/a.nii.gz"), ["a", "b"]),
        (("imagesTr/c_01_0000.nii.gz", "labelsTr/c_01.nii.gz", "dataset.json"), ["c_01"]),
        (("s1_image.nii.gz", "s1_label.nii.gz", "deep/s2_image.nii", "deep/s2_mask.nii.gz"), ["deep/s2", "s1"]),
        (("p_image.nii.gz", "p_seg.nii.gz", "q_image.nii.gz", "q_lesion.nii.gz"), ["p", "q"]),
        (("images/.hidden.nii.gz", "images/a.nii.gz", "labels/a.nii.gz", ".cache/x_image.nii.gz"), ["a"]),
    ],
)
def test_documented_layouts_are_found(tmp_path: Path, names: tuple[str, ...], ids: list[str]) -> None:
    found = find(PAIRS, touch(tmp_path, *names))
    assert [c.id for c in found.cases] == ids
    assert all(c.image.exists() and c.label.exists() and c.image != c.label for c in found.cases)
    assert found.warnings == ()


def test_names_that_begin_with_a_subject_say_who_is_one_person(tmp_path: Path) -> None:
    for name in ("sub-1_ses-1", "sub-1_ses-2", "sub-2", "subject-3", "sub-_x"):
        touch(tmp_path, f"images/{name}.nii.gz", f"labels/{name}.nii.gz")
    assert {c.id: c.group for c in find(PAIRS, tmp_path).cases} == {
        "sub-1_ses-1": "sub-1", "sub-1_ses-2": "sub-1", "sub-2": "sub-2", "subject-3": "subject-3", "sub-_x": "sub-_x",
    }


def test_patterns_of_ones_own_pair_by_what_the_stars_stand_for(tmp_path: Path) -> None:
    touch(tmp_path, "sub-1/anat/sub-1_T1.nii.gz", "lesions/sub-1.nii.gz", "sub-2/anat/sub-2_T1.nii.gz", "lesions/sub-2.nii.gz")
    data = Data(source="pairs", image="sub-*/anat/sub-*_T1.nii.gz", label="*/sub-*.nii.gz")
    with pytest.raises(DataError, match=r"2 images .* without a label"):
        find(data, tmp_path)
    data = Data(source="pairs", image="sub-*/anat/sub-1_T1.nii.gz", label="lesions/sub-*.nii.gz")
    found = find(data, tmp_path)
    assert [(c.id, c.label.name) for c in found.cases] == [("1", "sub-1.nii.gz")]


@pytest.mark.parametrize(("image", "label"), [("a.nii", "b.nii"), ("*_*.nii", "*.nii")])
def test_patterns_whose_stars_do_not_match_up_are_a_usage_error(tmp_path: Path, image: str, label: str) -> None:
    touch(tmp_path, "a.nii")
    with pytest.raises(UsageError, match="the same number of"):
        find(Data(source="pairs", image=image, label=label), tmp_path)


def test_one_pattern_alone_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="belong together"):
        find(Data(source="pairs", image="*.nii"), tmp_path)


def test_further_channels_and_lonely_labels_are_left_out_with_a_word(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz", "labelsTr/b.nii.gz")
    found = find(PAIRS, tmp_path)
    assert [c.id for c in found.cases] == ["a"]
    assert found.warnings == (
        "1 label without an image left out",
        "1 volume of further channels in imagesTr/ left out: only _0000 is used",
    )


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), r"holds no \.nii or \.nii\.gz volume; expected images/ and labels/"),
        (("scan.dcm", "notes.txt"), "holds no .nii"),
        (("t1.nii.gz", "t2.nii.gz"), r"2 volumes \('t1\.nii\.gz', 't2\.nii\.gz'\), but no pairs among them"),
        ((*(f"images/{c}.nii.gz" for c in "abcdefgh"), "labels/a.nii.gz"),
         r"7 images \('images/b\.nii\.gz', .*'images/f\.nii\.gz' and 2 more\) without a label; its label in labels/"),
        (("images/a.nii", "images/a.nii.gz", "labels/a.nii"), "two images for 'a'; keep one"),
    ],
)
def test_what_is_missing_is_named_with_the_remedy(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    with pytest.raises(DataError, match=said):
        find(PAIRS, touch(tmp_path, *names))


def test_a_folder_that_is_not_there_or_is_none_is_said_to_be_so(tmp_path: Path) -> None:
    touch(tmp_path, "file")
    for name, said in (("nowhere", "does not exist"), ("file", "is not a folder")):
        with pytest.raises(DataError, match=said):
            find(PAIRS, tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.nii.gz", "labels/a.nii.gz", "private/x.nii.gz")
    (tmp_path / "private").chmod(0)
    try:
        with pytest.raises(DataError, match=r"private.*cannot be read"):
            find(PAIRS, tmp_path)
    finally:
        (tmp_path / "private").chmod(0o700)


def test_hostile_names_are_survived_and_shown_escaped(tmp_path: Path) -> None:
    hostile = ["\x1b]52;c;ZXZpbA==\x07", "[/red][@click=app.quit]x", "a\nb", "-rf", "\u202egnp", "é ü"]
    for name in hostile:
        touch(tmp_path, f"images/{name}.nii.gz", f"labels/{name}.nii.gz")
    raw = os.fsencode(tmp_path / "images") + b"/\xff\xfe.nii.gz"
    for path in (raw, raw.replace(b"images", b"labels")):
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    found = find(PAIRS, tmp_path)
    assert len(found.cases) == 7 and all(c.image.exists() for c in found.cases)
    assert all(c.id.isprintable() for c in found.cases)
    "".join(c.id for c in found.cases).encode()
    (tmp_path / "labels" / f"{hostile[0]}.nii.gz").unlink()
    with pytest.raises(DataError) as caught:
        find(PAIRS, tmp_path)
    assert "\x1b" not in str(caught.value) and r"\x1b]52" in str(caught.value)


def test_links_in_circles_end(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.nii.gz", "labels/a.nii.gz")
    (tmp_path / "images" / "again").symlink_to(tmp_path)
    assert len(find(PAIRS, tmp_path).cases) == 1
