"""Find image/label pairs: in a tree laid out as OpenNeuro ds004884, or in a folder that follows one of some patterns.

Patterns of `pairs`, the first that fits decides:

| layout                     | image                        | label                                            |
|----------------------------|------------------------------|--------------------------------------------------|
| `image` and `label` given  | a glob, `*` stands for a text | a glob; its `*` stand for the texts of the image's |
| nnU-Net                    | imagesTr/CASE_0000.nii.gz    | labelsTr/CASE.nii.gz                             |
| two folders                | images/CASE.nii.gz           | labels/CASE.nii.gz                               |
| siblings, at any depth     | CASE_image.nii.gz            | CASE_label, CASE_mask, CASE_seg or CASE_lesion   |

`tiff`: images/CASE.tif with labels/CASE.tif, 3D; `image` and `label` of [data] name other folders.

`.nii` serves wherever `.nii.gz` stands. Where a CASE begins with `sub-X_`, as in BIDS, all of X's are one person's.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from engine.config.tables import Data
from engine.errors import DataError, UsageError
from engine.training.data.nifti import is_volume, shown, stem
from engine.training.data.tiff import is_tiff, name_of

NAMED = 5
FOLDERS = (("imagesTr", "labelsTr", "_0000"), ("images", "labels", ""))
IMAGE_ENDING = "_image"
LABEL_ENDINGS = ("_label", "_mask", "_seg", "_lesion")
EXPECTED = (
    "expected images/ and labels/ with the same file names, imagesTr/CASE_0000.nii.gz and labelsTr/CASE.nii.gz, "
    "or CASE_image.nii.gz beside CASE_label.nii.gz (or _mask, _seg, _lesion); or set image and label in [data]"
)

MASKS = "derivatives/lesion_masks"
MASK_ENDING = "_desc-lesion_mask"
# ARC's acq- entities. Turbo spin echo is left out as in arXiv 2503.05531 §2: 5 volumes of another contrast.
ACQUISITIONS = {"spc3p2": "space_2x", "spc3": "space_no_accel", "tse3": "turbo_spin_echo"}
LEFT_OUT = {"turbo_spin_echo": "turbo spin echo"}


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One image with its label. Cases of one `group` (a person's sessions) never stand on both sides of a fold."""

    id: str
    image: Path
    label: Path
    acquisition: str = ""
    group: str = ""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Cases in the order of their ids, and what is worth saying about the rest."""

    cases: tuple[Case, ...]
    warnings: tuple[str, ...] = ()


def find(data: Data, folder: Path) -> Found:
    """All cases under `folder` for the source `bids`, `pairs` or `tiff`. Raises DataError, naming at most NAMED files.

    A folder given for `bids` that is no such tree may hold pairs all the same. `data.subjects`, where it is set, is how
    many a BIDS tree should have; another number is a warning.
    """
    if data.source == "tiff":
        return tiffs(folder, data)
    if data.source != "bids":
        return pairs(folder, data)
    if not _is_bids(folder):
        return pairs(folder, Data())
    found = bids(folder, data)
    if data.subjects in (0, len(found.cases)):
        return found
    said = f"{data.subjects} subjects were expected in {shown(folder)}, {len(found.cases)} are there"
    return Found(cases=found.cases, warnings=(*found.warnings, said))


def bids(root: Path, data: Data) -> Found:
    """Every lesion mask with the image it was drawn on.

    sub-X/[ses-Y/]anat/NAME_T2w.nii.gz with derivatives/lesion_masks/sub-X/[ses-Y/]anat/NAME_T2w_desc-lesion_mask.nii.gz
    (or NAME_desc-lesion_mask.nii.gz). `data.image` may give another suffix than T2w. Raises DataError.
    """
    suffix = data.image or "T2w"
    files = _volumes(root)
    masks = [f for f in files if f.startswith(f"{MASKS}/") and stem(f).endswith(MASK_ENDING)]
    images = {f for f in files if f.startswith("sub-") and stem(f).endswith(f"_{suffix}")}
    if not masks or not images:
        raise DataError(
            f"{shown(root)}: holds {len(images)} images sub-*/[ses-*/]anat/*_{suffix}.nii.gz and {len(masks)} masks "
            f"{MASKS}/sub-*/[ses-*/]anat/*{MASK_ENDING}.nii.gz; both are needed, as in OpenNeuro ds004884"
        )
    cases, lonely, left_out = [], [], Counter[str]()
    for mask in masks:
        name = stem(mask.removeprefix(f"{MASKS}/")).removesuffix(MASK_ENDING).removesuffix(f"_{suffix}")
        image = next((f for end in (".nii.gz", ".nii") if (f := f"{name}_{suffix}{end}") in images), None)
        if image is None:
            lonely.append(mask)
            continue
        acquisition = _acquisition(name)
        if acquisition in LEFT_OUT:
            left_out[acquisition] += 1
            continue
        cases.append((_who(name), name, root / image, root / mask, acquisition))
    if lonely:
        raise DataError(f"{shown(root)}: {_listed(lonely, 'lesion mask')} without the image it was drawn on "
                        f"(*_{suffix}.nii.gz); fetch the images, or remove these masks")
    # One mask a session is the rule; where there are more, the whole name tells them apart.
    sessions = Counter("_".join(who) for who, *_ in cases)
    made = [
        Case(
            id=_readable("_".join(who) if sessions["_".join(who)] == 1 else name.rsplit("/", 1)[-1]),
            image=image, label=mask, acquisition=_readable(acquisition), group=_readable(who[0] if who else name),
        )
        for who, name, image, mask, acquisition in cases
    ]
    warnings = [
        f"{counted(n, f'{LEFT_OUT[a]} volume')} left out: another contrast than SPACE" for a, n in left_out.items()
    ]
    unmarked = len(images) - len(made) - left_out.total()
    if unmarked > 0:
        warnings.append(f"{counted(unmarked, f'{suffix} image')} without a lesion mask left out")
    return _checked(root, made, warnings)


def pairs(root: Path, data: Data) -> Found:
    """Image/label pairs by the first layout that fits (see the module's table). Raises DataError."""
    if bool(data.image) != bool(data.label):
        raise UsageError("[data] image and label belong together: set both patterns or neither")
    files = _volumes(root)
    if not files:
        raise DataError(f"{shown(root)}: holds no .nii or .nii.gz volume; {EXPECTED}")
    if data.image:
        return _by_glob(root, files, data.image, data.label)
    for images, labels, ending in FOLDERS:
        left = {f: stem(f[len(images) + 1 :]) for f in files if f.startswith(f"{images}/")}
        right = {stem(f[len(labels) + 1 :]): f for f in files if f.startswith(f"{labels}/")}
        if left and right:
            return _by_folder(root, left, right, ending)
    left = {f: stem(f).removesuffix(IMAGE_ENDING) for f in files if stem(f).endswith(IMAGE_ENDING)}
    if not left:
        raise DataError(f"{shown(root)}: {_listed(files, 'volume')}, but no pairs among them; {EXPECTED}")
    right = {
        stem(f).removesuffix(end): f for end in reversed(LABEL_ENDINGS) for f in files if stem(f).endswith(end)
    }
    return _paired(root, left, right, "; CASE_image.nii.gz needs CASE_label.nii.gz (or _mask, _seg, _lesion) beside it")


def tiffs(root: Path, data: Data) -> Found:
    """Pairs of TIFF files of one name in two folders, at any depth below them. Raises DataError."""
    images, labels = data.image or "images", data.label or "labels"
    files = _volumes(root, is_tiff)
    left = {f: name_of(f[len(images) + 1 :]) for f in files if f.startswith(f"{images}/")}
    right = {name_of(f[len(labels) + 1 :]): f for f in files if f.startswith(f"{labels}/")}
    if not left or not right:
        raise DataError(
            f"{shown(root)}: {counted(len(left), 'TIFF file')} in {shown(images)} and {len(right)} in {shown(labels)}; "
            "both are needed, of equal names; [data] image and label name other folders"
        )
    return _paired(root, left, right, f"; its label in {shown(labels)} must bear the same name")


def _by_folder(root: Path, left: dict[str, str], right: dict[str, str], ending: str) -> Found:
    if not ending:
        return _paired(root, left, right, "; its label in labels/ must bear the same name")
    first = {f: name.removesuffix(ending) for f, name in left.items() if name.endswith(ending)}
    others = len(left) - len(first)
    found = _paired(root, first, right, "; imagesTr/CASE_0000.nii.gz needs labelsTr/CASE.nii.gz")
    if not others:
        return found
    said = f"{counted(others, 'volume')} of further channels in imagesTr/ left out: only _0000 is used"
    return Found(cases=found.cases, warnings=(*found.warnings, said))


def _by_glob(root: Path, files: Sequence[str], image: str, label: str) -> Found:
    stars = image.count("*")
    if not stars or stars != label.count("*"):
        raise UsageError(
            f"[data] image = {image!r} and label = {label!r}: both need the same number of *, one at least; "
            "each * of the label stands for the text found by that of the image"
        )
    pattern = re.compile("([^/]*)".join(re.escape(part) for part in image.split("*")))
    parts = label.split("*")
    left: dict[str, str] = {}
    right: dict[str, str] = {}
    for file in files:
        match = pattern.fullmatch(file)
        if match:
            left[file] = "_".join(dict.fromkeys(match.groups()))
            wanted = "".join(a + b for a, b in zip(parts, (*match.groups(), ""), strict=True))
            if wanted in files:
                right[left[file]] = wanted
    if not left:
        raise DataError(f"{shown(root)}: none of {len(files)} volumes fits the pattern image = {image!r} of [data]")
    return _paired(root, left, right, f"; the pattern is label = {label!r} of [data]", strict=False)


def _paired(root: Path, left: dict[str, str], right: dict[str, str], rule: str, strict: bool = True) -> Found:
    """`left` is file -> name, `right` name -> file. Every image needs its label; a label may be alone."""
    lonely = [file for file, name in left.items() if name not in right]
    if lonely:
        raise DataError(f"{shown(root)}: {_listed(lonely, 'image')} without a label{rule}")
    made = [
        Case(
            id=_readable(name), image=root / file, label=root / right[name], group=_readable((_who(name) or [name])[0])
        )
        for file, name in left.items()
    ]
    alone = len(right) - len(left) if strict else 0
    return _checked(root, made, [f"{counted(alone, 'label')} without an image left out"] if alone > 0 else [])


def _checked(root: Path, cases: list[Case], warnings: list[str]) -> Found:
    twice = [name for name, count in Counter(case.id for case in cases).items() if count > 1]
    if twice:
        raise DataError(f"{shown(root)}: two images for {shown(twice[0])}; keep one of them")
    if not cases:
        raise DataError(f"{shown(root)}: no volume is left to train on ({'; '.join(warnings)})")
    return Found(cases=tuple(sorted(cases, key=lambda case: case.id)), warnings=tuple(warnings))


def _is_bids(root: Path) -> bool:
    return (root / MASKS).is_dir() or any(path.is_dir() for path in root.glob("sub-*"))


def _volumes(root: Path, wanted: Callable[[str], bool] = is_volume) -> list[str]:
    """Paths of all volumes (`wanted` by name) below `root`, relative to it, sorted. Links to folders are not followed:
    they may circle."""
    if not root.is_dir():
        kind = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"{shown(root)}: {kind}; give the folder of the volumes with --data")
    closed: list[OSError] = []
    found = []
    for folder, folders, names in os.walk(root, onerror=closed.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = Path(folder).relative_to(root)
        found += [(inside / name).as_posix() for name in names if wanted(name)]
    if closed:
        raise DataError(
            f"{shown(str(closed[0].filename))}: cannot be read ({closed[0].strerror}); "
            f"{len(closed)} folder(s) in all; give yourself the right to read them"
        )
    return sorted(found)


def _who(name: str) -> list[str]:
    """sub-X and ses-Y of a BIDS name; nothing if it is none."""
    entities = dict(part.split("-", 1) for part in name.rsplit("/", 1)[-1].split("_") if "-" in part)
    return [f"{entity}-{entities[entity]}" for entity in ("sub", "ses") if entities.get(entity)]


def _acquisition(name: str) -> str:
    """The acq- entity in words where it is one of ARC's, as it stands otherwise, '' without one."""
    match = re.search(r"_acq-([^_/]+)", name)
    return ACQUISITIONS.get(match[1], match[1]) if match else ""


def _readable(text: str) -> str:
    """As it stands if it is printable; otherwise with escapes, so that it can go to JSON and to a screen."""
    return repr(text)[1:-1] if not text.isprintable() else text


def _listed(files: Iterable[str], what: str) -> str:
    """`12 images (a, b, c, d, e and 7 more)`"""
    names = sorted(files)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{counted(len(names), what)} ({', '.join(shown(n) for n in names[:NAMED])}{more})"


def counted(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
