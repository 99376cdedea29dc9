"""The journal: what is written is read back, whatever happens to the file meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hypothesis import given, settings, strategies as st

from engine.journals import journal
from engine.journals.events import Gap, Note, Steps, decode, decode_many, encode
from engine.journals.journal import Reader, Writer


def notes(path: Path) -> list[str]:
    return [record.text for record in journal.read(path) if isinstance(record, Note)]


def test_what_was_written_is_read_in_order_and_numbered(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    with Writer(path) as writer:
        for i in range(5):
            writer.write(Note(text=f"line {i}"))
    records = journal.read(path)
    assert notes(path) == [f"line {i}" for i in range(5)]
    assert [record.n for record in records] == [1, 2, 3, 4, 5]
    assert path.stat().st_mode & 0o077 == 0


def test_a_half_written_line_waits_for_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    line = encode(Note(text="whole"))
    path.write_bytes(line + line[:10])
    reader = Reader(path)
    assert len(reader.read()) == 1
    assert reader.read() == []
    with path.open("ab") as file:
        file.write(line[10:])
    assert len(reader.read()) == 1


def test_a_torn_tail_is_cut_off_before_the_next_line_and_numbers_go_on(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    with Writer(path) as writer:
        writer.write(Note(text="one"), Note(text="two"))
    with path.open("ab") as file:
        file.write(b'{"k":"note","te')
    with Writer(path) as writer:
        assert writer.recovered == 15
        writer.write(Note(text="three"))
    assert notes(path) == ["one", "two", "three"]
    assert [record.n for record in journal.read(path)] == [1, 2, 3]


def test_a_damaged_line_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    path.write_bytes(encode(Note(text="a")) + b"\xff\x00garbage\n" + encode(Note(text="b")) + b'{"k":"future"}\n')
    reader = Reader(path)
    assert [record.text for record in reader.read()] == ["a", "b"]  # type: ignore[union-attr]
    assert reader.damaged == 2


def test_a_replaced_file_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    path.write_bytes(encode(Note(text="old")) * 3)
    reader = Reader(path)
    assert len(reader.read()) == 3
    other = tmp_path / "other"
    other.write_bytes(encode(Note(text="new")))
    other.replace(path)
    assert len(reader.read()) == 1


def test_a_line_longer_than_the_read_limit_arrives_whole(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    with Writer(path) as writer:
        writer.write(Note(text="x" * 10_000), Note(text="y"))
    assert [len(r.text) for block in Reader(path).read_all(limit=100) for r in block] == [10_000, 1]  # type: ignore[union-attr]


def test_the_ends_of_a_long_journal_come_without_reading_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    with Writer(path) as writer:
        writer.write(*(Note(text=f"line {i}") for i in range(20_000)))
    records, offset = journal.read_ends(path)
    assert records[0].text == "line 0"  # type: ignore[union-attr]
    assert records[-1].text == "line 19999"  # type: ignore[union-attr]
    assert len(records) < 3_000
    assert offset == path.stat().st_size


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from engine.journals import journal
from engine.journals.events import Note
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal.RETRY_SECONDS = 0.0
writer = journal.Writer(Path(sys.argv[1]))
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
kept = [writer.write(Note(text=f"line {i}")) for i in range(40)]
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
writer.write(Note(text="room again"))
print(sum(kept))
"""


def test_a_full_disk_drops_lines_says_so_and_garbles_none(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=True)
    kept = int(done.stdout)
    records = journal.read(path)
    gaps = [record for record in records if isinstance(record, Gap)]
    assert 0 < kept < 40
    assert notes(path) == [*(f"line {i}" for i in range(kept)), "room again"]
    assert [gap.dropped for gap in gaps] == [40 - kept]
    assert [record.n for record in records] == list(range(1, len(records) + 1))


def test_a_journal_cut_at_any_byte_goes_on_in_whole_lines(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jsonl"
    with Writer(whole) as writer:
        writer.write(*(Note(text=f"line {i}") for i in range(5)))
    content = whole.read_bytes()
    for cut in range(len(content)):
        path = tmp_path / "cut.jsonl"
        path.write_bytes(content[:cut])
        with Writer(path) as writer:
            writer.write(Note(text="after"))
        records = journal.read(path)
        assert [record.n for record in records] == list(range(1, len(records) + 1))
        assert notes(path) == [*(f"line {i}" for i in range(content[:cut].count(b"\n"))), "after"]


texts = st.text(max_size=60)


@given(st.lists(st.tuples(texts, st.integers(0, 10**9)), max_size=20), st.integers(1, 400))
@settings(max_examples=60, deadline=None)
def test_any_text_survives_and_any_chunking_reads_the_same(tmp_path_factory, pairs, limit) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("j") / "steps.jsonl"
    with Writer(path) as writer:
        for text, step in pairs:
            writer.write(Note(text=text), Steps(epoch=1, step=step, steps=1, seconds=1.5, low=1.5, high=1.5))
    whole = journal.read(path)
    parts = [record for block in Reader(path).read_all(limit) for record in block]
    assert whole == parts
    assert [r.text for r in whole if isinstance(r, Note)] == [text for text, _ in pairs]
    assert b"\n" not in b"".join(line for line in path.read_bytes().split(b"\n"))


def test_a_file_name_that_is_not_unicode_does_not_stop_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    with Writer(path) as writer:
        writer.write(Note(text=os.fsdecode(b"caf\xe9.nii.gz")), Note(text="next"))
    assert notes(path) == ["caf?.nii.gz", "next"]


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_no_bytes_whatever_break_the_reader(block: bytes) -> None:
    decode(block)
    records, _ = decode_many(block)
    assert all(record is not None for record in records)


@given(st.integers(0, 400), st.binary(min_size=1, max_size=8))
@settings(deadline=None)
def test_damage_in_one_place_leaves_the_lines_before_it(position: int, junk: bytes) -> None:
    lines = [encode(Note(text=f"line {i}", n=i)) for i in range(12)]
    block = b"".join(lines)
    position = min(position, len(block) - 1)
    damaged = block[:position] + junk + block[position + len(junk) :]
    untouched = block[:position].count(b"\n")
    records, _ = decode_many(damaged)
    assert [r.text for r in records if isinstance(r, Note)][:untouched] == [f"line {i}" for i in range(untouched)]
