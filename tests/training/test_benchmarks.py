"""The benchmarks of speed run, small, as a user would start them; what a machine lacks is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks._gpu_table import Measured, Setting, chosen, table
from tests.benchmarks._pairs import ratio, turns
from tests.benchmarks.gpu_defaults import in_a_process, measure, words

ROOT = Path(__file__).parents[2]
TINY = [
    "--subjects", "2", "--side", "24", "--patch", "8", "8", "8", "--workers", "1", "--rounds", "2", "--seconds", "0.05",
    "--epoch", "2",
]


def start(name: str, *arguments: str, before: Path | None = None) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([*([str(before)] if before else []), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", f"tests.benchmarks.{name}", *arguments], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}, cwd=ROOT,
    )


def test_loaders_are_compared_on_the_same_patches(tmp_path: Path) -> None:
    done = start(
        "loaders", *TINY, "--only", "steptop", "nibabel", "--augment", "full", "--json", str(tmp_path / "found.json"),
    )
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads((tmp_path / "found.json").read_bytes())["figures"]["full"]
    assert figures["equal"] and figures["best"] == "nibabel"
    assert {look["image"] for look in figures["looks"].values()} == {"float32 1×8×8×8"}
    assert {look["label"] for look in figures["looks"].values()} == {"uint8 8×8×8"}
    assert all(len(rates) == 2 and min(rates) > 0 for rates in figures["rates"].values())
    assert "steptop is ×" in done.stdout and "the best of them: plain nibabel" in done.stdout


def test_without_monai_the_comparison_says_how_to_get_it(tmp_path: Path) -> None:
    """A folder in front of all others where MONAI cannot be had, as on a machine without it."""
    (tmp_path / "monai.py").write_text("raise ModuleNotFoundError(\"No module named 'monai'\", name='monai')\n")
    done = start("loaders", *TINY, "--data", str(tmp_path / "heads"), before=tmp_path)
    assert done.returncode == 2
    assert "pip install -c constraints.txt -e '.[bench]'" in done.stderr and "--only steptop nibabel" in done.stderr


def test_a_patch_that_no_head_holds_is_refused() -> None:
    done = start("loaders", "--side", "64", "--patch", "96", "96", "96")
    assert done.returncode == 2 and "the smallest head has 51 voxels a side" in done.stderr


@pytest.mark.slow
def test_a_step_of_the_trainer_is_laid_beside_a_bare_one(tmp_path: Path) -> None:
    done = start(
        "step_overhead", "--works", "quickstart", "--rounds", "2", "--block", "4", "--steps", "12", "--workers", "1",
        "--json", str(tmp_path / "found.json"),
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "found.json").read_bytes())["figures"]["quickstart"]
    assert figures["wall"]["low"] <= figures["wall"]["value"] <= figures["wall"]["high"]
    shares = figures["not the network's"]
    assert shares["workers"] == 1 and 0 <= shares["data"] < 1 and 0 <= shares["rest"] < 1 and shares["step"] > 0


def test_without_a_gpu_its_defaults_cannot_be_measured() -> None:
    """CUDA_VISIBLE_DEVICES empty: no machine shows a GPU then."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.gpu_defaults"], capture_output=True, text=True, check=False, cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 2 and "this machine shows none" in done.stderr and "--device cpu --small" in done.stderr


@pytest.mark.slow
def test_every_combination_is_tried_in_a_process_of_its_own_and_told_in_a_table(tmp_path: Path) -> None:
    done = start(
        "gpu_defaults", "--device", "cpu", "--small", "--steps", "1", "--models", "meshnet-26", "--precision", "bf16",
        "--channels-last", "yes", "--compile", "no", "--json", str(tmp_path / "found.json"),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_bytes())["figures"]
    assert [one["setting"]["model"] for one in found] == ["meshnet-26"]
    assert found[0]["active"] == "bfloat16" and found[0]["seconds"] > 0 and not found[0]["error"]
    assert "meshnet-26: default bf16, channels_last: the fastest" in done.stdout
    assert "parameters; fastest bf16, channels_last" in done.stdout


def setting(**given: Any) -> Setting:
    usual: dict[str, Any] = {
        "model": "meshnet-26", "precision": "fp32", "channels_last": False, "compile": False, "recompute": False,
        "device": "cpu", "small": True, "sides": (16, 16, 16), "steps": 1,
    }
    return Setting(**usual | given)


def test_the_same_network_learns_the_same_in_another_layout() -> None:
    plain, other = measure(setting()), measure(setting(channels_last=True))
    assert plain.active == other.active == "float32" and plain.parameters == other.parameters > 0
    assert other.loss == pytest.approx(plain.loss, rel=1e-3)
    assert (plain.allocated, plain.reserved) == (0, 0)  # a CPU does not tell


@pytest.mark.slow
def test_activations_that_are_computed_again_change_nothing_either() -> None:
    kept, again = (measure(setting(model="residual-unet", recompute=recompute)) for recompute in (False, True))
    assert again.loss == pytest.approx(kept.loss, rel=1e-3) and again.parameters == kept.parameters > 0


def test_what_ran_out_of_memory_stands_in_the_table_and_is_never_the_fastest() -> None:
    slow = Measured(seconds=2.0, allocated=4 << 30, reserved=5 << 30, active="float16", parameters=147_474)
    quick = Measured(seconds=1.0, allocated=8 << 30, reserved=9 << 30, active="bfloat16", parameters=147_474)
    lines = table([
        (setting(precision="fp16"), slow), (setting(precision="bf16"), quick), (setting(), Measured(error="out of memory")),
    ])
    assert any("fp32, contiguous" in line and line.endswith("out of memory") for line in lines)
    assert "meshnet-26: 147,474 parameters; fastest bf16, contiguous (1000.0 ms)" in lines
    assert "meshnet-26: least memory fp16, contiguous (5.00 GiB)" in lines
    assert lines[-1] == "meshnet-26: default bf16, contiguous: the fastest; 1 not measured"


def test_the_default_is_the_simplest_of_those_that_are_as_good_as_the_fastest() -> None:
    plain, compiled = setting(precision="fp16"), setting(precision="fp16", compile=True)
    last = setting(precision="fp16", channels_last=True)

    def told(*seconds: float) -> list[tuple[Setting, Measured]]:
        return [(one, Measured(seconds=each)) for one, each in zip((compiled, last, plain), seconds, strict=True)]

    assert chosen(told(1.0, 1.03, 1.04)) == (plain, Measured(seconds=1.04))
    assert chosen(told(1.0, 1.03, 1.2)) == (last, Measured(seconds=1.03))
    assert chosen(told(1.0, 1.2, 1.2)) == (compiled, Measured(seconds=1.0))
    assert table(told(1.0, 1.03, 1.2))[-1] == (
        "meshnet-26: default fp16, channels_last: 3.0% slower than the fastest, and simpler"
    )
    assert table([(plain, Measured(error="out of memory"))])[-1] == (
        "meshnet-26: nothing was measured, so no default can be told"
    )


def test_what_torch_cannot_compile_is_told_in_a_line_and_the_next_follows() -> None:
    failure = type("InductorError", (RuntimeError,), {"__module__": "torch._inductor.exc"})
    assert words(failure("\nno C compiler found\n\nSet TORCHDYNAMO_VERBOSE=1 …")) == (
        "not compiled: InductorError: no C compiler found"
    )
    assert words(RuntimeError("cuDNN error: \x1b[31mCUDNN_STATUS")) == "RuntimeError: cuDNN error: CUDNN_STATUS"


def test_a_combination_that_takes_too_long_or_dies_is_told_and_the_next_follows() -> None:
    assert in_a_process(setting(), patience=0.01).error == "not done after 0 s"
    assert in_a_process(setting(device="gpu")).error.startswith("exit 1: engine.errors.UsageError: device 'gpu'")


@pytest.mark.slow
def test_what_there_is_no_time_for_is_left_out_and_said_so(tmp_path: Path) -> None:
    done = start(
        "gpu_defaults", "--device", "cpu", "--small", "--minutes", "0", "--precision", "fp16", "--json",
        str(tmp_path / "found.json"),
    )
    assert done.returncode == 1
    found = json.loads((tmp_path / "found.json").read_bytes())["figures"]
    assert [one["error"] for one in found] == ["left out: no time"] * 8
    assert [one["setting"]["compile"] for one in found] == [False] * 4 + [True] * 4


def test_ratios_of_pairs_have_an_interval_that_holds_them() -> None:
    found = ratio([2.0, 4.2, 7.8], [1.0, 2.0, 4.0])
    assert found.low < 2.0 < found.high and found.value == pytest.approx(2.0, rel=0.02)
    assert str(ratio([3.0], [1.0])) == "×3.00 (0.00–inf)"
    order = [turns(["a", "b", "c"], number) for number in range(6)]
    assert {one[0] for one in order} == {"a", "b", "c"} and order[1] == order[0][::-1]
