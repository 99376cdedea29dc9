"""Peptides from files and from a generator: what can be learnt from is read whole, anything else is refused by its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from engine.config.tables import Data
from engine.errors import DataError, UsageError
from engine.training.data import cache, peptides, sequences, tokens
from engine.training.rows import Rows

FASTA = ">one a name\nACDE\nFGHIK\n; a comment\n\n>two\nacdefghik\n>three\nWYWY\n"


def read(folder: Path, text: str | bytes, name: str = "p.fasta") -> sequences.Sequences:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return sequences.read(file)


def made(count: int = 600, **more: object) -> sequences.Sequences:
    return peptides.drawn(Data(source="peptides", subjects=count, **more))  # type: ignore[arg-type]


def test_fasta_wraps_lines_and_csv_has_columns_in_any_order(tmp_path: Path) -> None:
    found = read(tmp_path, FASTA)
    assert tokens.texts(found.tokens) == ["ACDEFGHIK", "ACDEFGHIK", "WYWY"]
    assert found.lengths.tolist() == [9, 9, 4]
    for text, name in (
        ("id;Sequence;target\r\n1;ACDEF;spike\r\n2;WYWY;\r\n3;ACDE;actin\r\n", "a.csv"),
        ('target\tseq\nspike\t"ACDEF"\n\tWYWY\nactin\tACDE\n', "b.tsv"),
    ):
        found = read(tmp_path, text, name)
        assert tokens.texts(found.tokens) == ["ACDEF", "WYWY", "ACDE"]
        assert found.names == ("", "actin", "spike")
        assert found.targets.tolist() == [2, 0, 1]
    assert tokens.texts(read(tmp_path, "ACDEF\nWYWY\n", "plain.txt").tokens) == ["ACDEF", "WYWY"]
    assert len(read(tmp_path, gzip.compress(FASTA.encode(), mtime=0), "p.fasta.gz").tokens) == 3
    assert sequences.file_of(tmp_path / "a.csv") == tmp_path / "a.csv"


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("", "e.fasta", "is empty"),
        ("\n\n", "e.csv", "is empty"),
        ("sequence\n", "e.csv", "holds no sequence"),
        (">a\nACDE\n>b\nACBXE\n>c\nACDEF\n", "r.fasta", "line 3: 'ACBXE' holds B, X, no amino acid"),
        (">a\nACDE*\n", "r.fasta", "holds *, no amino acid"),
        (">a\nACDE\n>b\nACD\n", "s.fasta", "1 of 2 sequences cannot be learnt from: line 3: 'ACD' has 3 residues"),
        (f">a\n{'A' * 21}\n", "l.fasta", "has 21 residues"),
        (f"sequence\n{'ACDE' * 200}\n", "l.csv", "has 800 residues"),
        ("ACDEF\n>a\nACDE\n", "h.fasta", "line 1: 'ACDEF' before any name"),
        (">a\n>b\nACDE\n", "n.fasta", "line 1: a name without a sequence"),
        (">a\nACDE\n>b\n", "t.fasta", "line 3: a name without a sequence: the file ends there"),
        ("peptides,n\nACDE,1\n", "c.csv", "no column called sequence (there is peptides, n)"),
        ("sequence,n\nACDE,1\nACDEF\n", "c.csv", "line 3: 1 column where the first line has 2"),
        ('sequence,n\n"ACDE,1\nACDE,2\n', "q.csv", "every quote that opens must close"),
        ("sequence\nAC\x1b[31mDE\n", "esc.csv", "no amino acid"),
        (b"\x89PNG\0\0", "p.csv", "is no text"),
        (b"sequence\nAC\xffDE\n", "u.csv", "not UTF-8"),
        (gzip.compress(FASTA.encode(), mtime=0)[:-12], "z.fasta.gz", "damaged or cut short"),
    ],
)
def test_a_file_that_cannot_be_learnt_from_is_refused_by_its_line(
    tmp_path: Path, text: str | bytes, name: str, said: str
) -> None:
    with pytest.raises(DataError) as refused:
        read(tmp_path, text, name)
    assert said in str(refused.value)
    assert name in str(refused.value)
    assert "\x1b" not in str(refused.value)


def test_a_folder_must_hold_one_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file of sequences"):
        sequences.file_of(tmp_path)
    (tmp_path / "a.fasta").write_text(FASTA)
    assert sequences.file_of(tmp_path).name == "a.fasta"
    (tmp_path / "b.csv").write_text("sequence\nACDE\n")
    with pytest.raises(DataError, match="name one with --data FILE"):
        sequences.file_of(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        sequences.read(tmp_path / "nowhere.fasta")


def test_made_up_peptides_have_the_statistics_they_were_drawn_from() -> None:
    """Total variation of 40,000 draws from what is expected: 0.02 and less, far from another chain's."""
    data = Data(source="peptides", subjects=40_000)
    found, wanted = peptides.statistics(peptides.drawn(data).tokens), peptides.expected(peptides.chain(data))
    assert all(0 < distance < 0.02 for distance in found.distances(wanted).values())
    other = peptides.expected(peptides.chain(Data(source="peptides", seed=7)))
    assert found.distances(other)["pairs"] > 0.5
    for shares in (*wanted, *found):
        assert shares.sum() == pytest.approx(1.0)


def test_the_entropy_of_the_chain_is_what_its_best_model_needs() -> None:
    """The mean of -log p of its own draws under itself."""
    data = Data(source="peptides", subjects=20_000)
    of, drawn = peptides.chain(data), peptides.drawn(data)
    needed = -np.log(of.lengths[drawn.lengths]) - np.log(of.first[drawn.tokens[:, 0]])
    for place in range(1, tokens.MAX_LENGTH):
        there = drawn.lengths > place
        needed[there] -= np.log(of.follows[drawn.tokens[there, place - 1], drawn.tokens[there, place]])
    assert needed.mean() == pytest.approx(of.entropy, rel=0.01)


def test_options_that_do_not_exist_are_named() -> None:
    with pytest.raises(UsageError, match=r"concentration = 0\.3"):
        made(options={"consentration": 1.0})
    with pytest.raises(UsageError, match="2 or more"):
        made(count=1)


def test_a_sequence_is_in_the_same_fold_wherever_it_stands(tmp_path: Path) -> None:
    """The same sequences in another order, and with others among them: each is held out with the same ones."""
    first = made(600)
    turned = sequences.Sequences(*(array[::-1] for array in first[:3]))
    more = sequences.Sequences(*(np.concatenate((a, b)) for a, b in zip(first[:3], made(300, seed=5)[:3], strict=True)))

    def fold_of(found: sequences.Sequences, name: str) -> dict[bytes, int]:
        record = tokens.store(tmp_path, name, found, 3, 42)
        rows = tokens.opened(tmp_path / name).tokens
        return {bytes(rows[i]): part.fold for part in record.parts for i in range(part.first, part.last)}

    one, other, larger = fold_of(first, "a"), fold_of(turned, "b"), fold_of(more, "c")
    assert one == other
    assert one.items() <= larger.items()
    assert sorted(set(one.values())) == [0, 1, 2]
    sizes = [list(one.values()).count(fold) for fold in range(3)]
    assert min(sizes) > 150, sizes


def test_fewer_sequences_than_folds_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="3 folds need at least 3 sequences, each fold one of its own; there are 2"):
        tokens.store(tmp_path, "few", made(2), 3, 42)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_array_is_not_taken_for_a_prepared_one(tmp_path: Path) -> None:
    record = tokens.store(tmp_path, "key", made(), 2, 42)
    assert tokens.find(tmp_path, "key") == record
    whole = (tmp_path / "key" / "tokens.npy").read_bytes()
    (tmp_path / "key" / "tokens.npy").write_bytes(whole[:-100])
    assert tokens.find(tmp_path, "key") is None
    assert tokens.store(tmp_path, "key", made(), 2, 42) == record
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert cache.clean(tmp_path) == 0


def test_a_batch_is_the_rows_that_were_asked_for_and_no_held_out_one(tmp_path: Path) -> None:
    record = tokens.store(tmp_path, "key", made(), 3, 42)
    first, last = record.held_out(1)
    rows, every = Rows(tmp_path / "key", first, last), tokens.opened(tmp_path / "key").tokens
    assert len(rows) == 600 - (last - first)
    batch = rows.__getitems__([(1, draw) for draw in range(len(rows))])
    kept = np.concatenate((every[:first], every[last:]))
    assert np.array_equal(batch.image.numpy(), kept)
    again = rows.__getitems__([(4, len(rows) + 5), (4, 3)])
    assert np.array_equal(again.image.numpy(), kept[[5, 3]])
    assert again.indices == [len(rows) + 5, 3]


def test_what_is_valid_ends_once_and_has_four_residues() -> None:
    text = ["ACDE", "ACD", "", "ACDEFGHIKLMNPQRSTVWY"]
    found = np.full((5, tokens.MAX_LENGTH), tokens.PAD, dtype=np.uint8)
    for row, letters in enumerate(text):
        found[row, : len(letters)] = tokens.numbered(letters.encode())
    found[4, :10], found[4, 11] = tokens.numbered(b"ACDEFGHIKL"), 0
    assert peptides.valid(found).tolist() == [True, False, False, True, False]
