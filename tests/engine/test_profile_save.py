"""Profiles saved: comments are never lost, nothing is written over unasked, what is written can be read."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from engine.config import catalog
from engine.config.knob import Value
from engine.config.profile import KNOBS, defaults
from engine.config.profile_file import load
from engine.config.profile_save import save_profile
from engine.errors import UsageError
from tests.engine.test_profile import values_of

MINE = """\
# Measured on the old node, 2026-03-02.
title = "mine"   # not the shipped one

[knobs] # how it runs
num_workers = 6            # half of the cores
# prefetch 8 was no better
prefetch_factor = 2
pin_memory = true          # a GPU is there

# the end
"""


def comments(text: str) -> set[str]:
    return {line.partition("#")[2].strip() for line in text.splitlines() if "#" in line}


def test_a_new_profile_holds_its_knobs_and_their_reasons(tmp_path: Path) -> None:
    file = save_profile(
        tmp_path / "new.toml", {"num_workers": "cores/2", "in_order": False}, title="new",
        reasons={"num_workers": "the loader is the limit"},
    )
    assert load(file) == ("new", {"num_workers": "cores/2", "in_order": False})
    assert 'num_workers = "cores/2" # the loader is the limit' in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["new.toml"]


def test_a_changed_value_keeps_every_comment_and_says_what_it_replaced(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(MINE)
    file.chmod(0o644)
    save_profile(
        file, {"num_workers": "cores/3", "prefetch_factor": 4, "batch_size": 2}, base=file, replace=True,
        reasons={"num_workers": "12 GiB less", "prefetch_factor": "loading varies", "batch_size": "fits"},
    )
    assert file.read_text() == """\
# Measured on the old node, 2026-03-02.
title = "mine"   # not the shipped one

[knobs] # how it runs
# cores/3 instead of 6: 12 GiB less
num_workers = "cores/3"    # half of the cores
# prefetch 8 was no better
# 4 instead of 2: loading varies
prefetch_factor = 4
pin_memory = true          # a GPU is there

# the end
batch_size = 2 # fits
"""
    assert file.stat().st_mode & 0o777 == 0o644


def test_saved_under_another_name_the_base_stays_as_it_was(tmp_path: Path) -> None:
    base = catalog.profiles()["moderate"].path
    before = base.read_bytes()
    file = save_profile(tmp_path / "mine.toml", {"num_workers": 3}, base=base, title="three")
    assert base.read_bytes() == before
    assert comments(before.decode()) <= comments(file.read_text())
    assert load(file)[1] == load(base)[1] | {"num_workers": 3} and load(file)[0] == "three"


def test_nothing_is_written_over_unless_asked(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(MINE)
    with pytest.raises(UsageError, match="is there already; choose another name"):
        save_profile(file, {"num_workers": 1})
    with pytest.raises(UsageError, match="is there already"):
        save_profile(file, {"num_workers": 1}, base=file)
    assert file.read_text() == MINE
    (tmp_path / "dangling.toml").symlink_to(tmp_path / "elsewhere.toml")
    save_profile(tmp_path / "dangling.toml", {"num_workers": 1})
    assert (tmp_path / "elsewhere.toml").is_file() and (tmp_path / "dangling.toml").is_symlink()


@pytest.mark.parametrize(
    ("name", "knobs", "said"),
    [
        ("mine.txt", {}, "is called NAME.toml"),
        ("mine.toml", {"num_worker": 3}, "did you mean 'num_workers'"),
        ("mine.toml", {"num_workers": 999}, "must lie in 0 to 64"),
        ("mine.toml", {"val_every_epochs": 0, "val_patches_per_volume": 3}, "contradicts"),
        ("nowhere/mine.toml", {}, "cannot be written: No such file or directory"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(
    tmp_path: Path, name: str, knobs: dict[str, Value], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        save_profile(tmp_path / name, knobs)
    assert list(tmp_path.iterdir()) == []


def test_a_base_that_is_no_profile_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[knobs]\nworkers = 3\n")
    with pytest.raises(UsageError, match=r"bad\.toml, line 2"):
        save_profile(tmp_path / "mine.toml", {}, base=tmp_path / "bad.toml")


def test_without_workers_what_means_nothing_becomes_a_comment(tmp_path: Path) -> None:
    """An editor hands over every knob; a file with num_workers = 0 and prefetch_factor would be refused."""
    file = tmp_path / "mine.toml"
    file.write_text(MINE)
    save_profile(file, defaults() | {"num_workers": 0}, base=file, replace=True)
    text = file.read_text()
    assert "# prefetch_factor = 2\n" in text and comments(MINE) <= comments(text)
    found = load(file)[1]
    assert found["num_workers"] == 0 and not {"prefetch_factor", "persistent_workers"} & set(found)


LAYOUTS = (
    MINE, MINE.replace("\n", "\r\n"), "", "title = 'x'\n", "[knobs]\n", "knobs = {num_workers = 3} # inline\n",
    "knobs.num_workers = 3 # dotted\nknobs.in_order = true\n", "[ knobs ]\n\t'num_workers'\t=\t0x10\t# hexadecimal\n",
)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), layout=st.sampled_from(LAYOUTS))
def test_whatever_is_saved_is_read_back_with_every_comment(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, layout: str
) -> None:
    folder = tmp_path_factory.mktemp("p")
    base = folder / "base.toml"
    base.write_bytes(layout.encode())
    names = data.draw(st.lists(st.sampled_from(list(KNOBS)), unique=True))
    knobs = {name: data.draw(values_of(KNOBS[name])) for name in names}
    reasons = {name: data.draw(st.text(max_size=12)) for name in names}
    title = data.draw(st.none() | st.text(max_size=12).filter(lambda text: "#" not in text))
    try:
        file = save_profile(folder / "mine.toml", knobs, base=base, reasons=reasons, title=title)  # type: ignore[arg-type]
    except UsageError as error:
        assert "contradicts" in str(error)
        return
    found = tomllib.loads(file.read_bytes().decode())["knobs"]
    meant = {n: v for n, v in knobs.items() if knobs.get("num_workers") != 0 or n not in ("prefetch_factor", "persistent_workers")}
    assert {name: found[name] for name in meant} == meant
    assert comments(layout.replace("\r", "")) <= comments(file.read_bytes().decode())
    load(file)


COLUMNS = """[knobs]
num_workers = "cores/3"      # a third of the machine
prefetch_factor = 2          # measured
in_order = true              # as always
"""


def test_comments_stay_in_their_column(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(COLUMNS)
    save_profile(file, {"num_workers": 1, "prefetch_factor": 16, "in_order": False}, file, replace=True)
    found = {line.index("# ") for line in file.read_text().splitlines() if line.endswith(("machine", "measured", "always"))}
    assert found == {COLUMNS.splitlines()[1].index("# ")}
