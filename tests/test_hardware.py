"""The GPU sheet: known by NVML's names, dated, and overridden by a file of one's own."""

from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.whatif import hardware

ROW = """
[[gpu]]
name = "RTX 4080"
aliases = ["NVIDIA GeForce RTX 4080"]
generation = "ada"
vram_gb = 16
bandwidth_gb_s = 717
fp32_tflops = 48.7
tensor_tflops = 97.5
source = "its box"
as_of = "2026-11"
"""


def own(folder: Path, text: str) -> Path:
    path = folder / "hardware.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("nvml", "name"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100-80 SXM"),
        ("NVIDIA A100 80GB PCIe", "A100-80 PCIe"),
        ("NVIDIA A100-SXM4-40GB", "A100-40 SXM"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("Tesla T4", "T4"),
        ("Tesla V100-SXM2-16GB", "V100-16 SXM"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA A10G", "A10G"),
        ("rtx4090", "RTX 4090"),
        ("a100-80", "A100-80 SXM"),
    ],
)
def test_a_gpu_is_known_by_the_name_its_driver_gives_it(nvml: str, name: str) -> None:
    found = hardware.find(nvml)
    assert found is not None
    assert found.name == name


def test_a_part_of_a_gpu_is_not_taken_for_the_whole() -> None:
    assert hardware.find("NVIDIA A100-SXM4-80GB MIG 3g.40gb") is None
    assert hardware.find("NVIDIA GeForce RTX 4090 Laptop GPU") is None
    assert hardware.find("") is None


def test_every_row_says_where_its_figures_are_from_and_when() -> None:
    sheet = hardware.gpus()
    assert len(sheet) >= 18
    for gpu in sheet:
        assert gpu.source
        assert gpu.as_of
        assert (gpu.tensor_tflops is not None) == (gpu.kind == "tensor cores")
        if gpu.price is not None:
            assert 0 < gpu.price.low <= gpu.price.high
            assert gpu.price.source
            assert gpu.price.as_of


def test_tensor_figures_are_dense_with_fp32_accumulate() -> None:
    """The trap of web tables: sparse figures, and FP16 accumulate on GeForce, are both twice as large."""
    assert hardware.named("H200").tensor_tflops == 989
    assert hardware.named("RTX 4090").tensor_tflops == 165
    assert hardware.named("RTX 5090").tensor_tflops == pytest.approx(209.5)


def test_what_is_from_memory_is_marked() -> None:
    assert "tensor_tflops" in hardware.named("A10G").unconfirmed
    assert hardware.named("A100-80 SXM").unconfirmed == ()


def test_volta_and_turing_have_no_bfloat16() -> None:
    assert not hardware.named("T4").bf16
    assert not hardware.named("V100").bf16
    assert hardware.named("A100").bf16
    assert not hardware.named("M4 Max").bf16


def test_one_row_adds_a_gpu(tmp_path: Path) -> None:
    sheet = hardware.gpus(own(tmp_path, ROW))
    found = hardware.find("nvidia geforce rtx 4080", sheet)
    assert found is not None
    assert found.own
    assert found.price is None
    assert len(sheet) == len(hardware.gpus()) + 1


def test_a_price_of_ones_own_wins_and_the_rest_of_the_row_stays(tmp_path: Path) -> None:
    price = 'price = { low = 1.1, high = 1.2, currency = "EUR", as_of = "2026-11-21", source = "our contract" }'
    sheet = hardware.gpus(own(tmp_path, f'[[gpu]]\nname = "a100-80 sxm"\n{price}\n'))
    found = hardware.named("A100", sheet)
    assert found.name == "A100-80 SXM"
    assert found.price == hardware.Price(low=1.1, high=1.2, currency="EUR", as_of="2026-11-21", source="our contract")
    assert found.bandwidth_gb_s == 2039
    assert len(sheet) == len(hardware.gpus())


def test_a_file_where_one_stands_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own(tmp_path, ROW)
    monkeypatch.chdir(tmp_path)
    assert hardware.named("RTX 4080").vram_gb == 16


def test_an_unknown_gpu_names_the_nearest_one() -> None:
    with pytest.raises(UsageError, match=r"no GPU called 'RTX 409'; did you mean 'RTX 4090'.*hardware\.toml"):
        hardware.named("RTX 409")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ROW.replace("717", "-717"), r"line 7: bandwidth_gb_s = -717: it is a number above 0"),
        (ROW.replace("717", "nan"), r"line 7: bandwidth_gb_s = nan"),
        (ROW.replace("717", '"fast"'), r"line 7: bandwidth_gb_s = 'fast'"),
        (ROW.replace("vram_gb = 16", "vram_gb = 0"), r"line 6: vram_gb = 0"),
        (ROW.replace("bandwidth_gb_s = 717\n", ""), r"line 2: gpu 'RTX 4080' lacks bandwidth_gb_s"),
        (ROW.replace("tensor_tflops = 97.5\n", ""), r"line 5: ada has tensor cores, so tensor_tflops is needed"),
        (ROW.replace('"ada"', '"adda"'), r"did you mean 'ada'"),
        (ROW.replace("vram_gb", "vram"), r"no field called 'vram' in .*line 6; did you mean 'vram_gb'"),
        (ROW.replace('"2026-11"', '"last week"'), r"line 11: as_of = 'last week' is no date"),
        (ROW.replace('as_of = "2026-11"', "as_of = 2026-11-01"), r"line 11: as_of = .*it is a text"),
        (ROW.replace("[[gpu]]", "[gpu]"), r"write \[\[gpu\]\] above each gpu"),
        (ROW.replace("[[gpu]]", "[[gpus]]"), r"no table called 'gpus'.*did you mean 'gpu'"),
        (ROW.replace('"RTX 4080"', '"\\u001b[31mRTX"'), r"line 3: name = .*it is a text"),
        (ROW + 'unconfirmed = ["speed"]\n', r"no field called 'speed' in .*line 12"),
        (ROW + ROW.replace('"RTX 4080"', '"RTX 4081"'), r"'NVIDIA GeForce RTX 4080' is both RTX 4080 and RTX 4081"),
        (ROW + "price = 1.2\n", r"line 12: price = 1.2: it is a table of low, high, currency"),
        (ROW + 'price = { low = 1, high = 2, as_of = "2026-11", source = "x" }\n', r"line 12: price lacks currency"),
        (
            ROW + 'price = { low = 1, high = 2, currency = "$", as_of = "2026-11", source = "x" }\n',
            r"line 12: currency is three capital letters",
        ),
        (
            ROW + 'price = { low = 3, high = 2, currency = "USD", as_of = "2026-11", source = "x" }\n',
            r"line 12: the price's low of 3 is more than its high of 2",
        ),
        ("[[gpu]\n", r"not valid TOML"),
    ],
)
def test_a_row_that_is_wrong_is_refused_with_file_line_and_remedy(tmp_path: Path, text: str, said: str) -> None:
    path = own(tmp_path, text)
    with pytest.raises(UsageError, match=said) as error:
        hardware.gpus(path)
    assert str(path) in str(error.value)


def test_a_file_that_was_named_and_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        hardware.gpus(tmp_path / "none.toml")
