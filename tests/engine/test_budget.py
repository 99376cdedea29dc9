"""Memory budgets: every part once, the arithmetic in words, and no batch that costs only its input."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from engine.config.knob import Value
from engine.config.profile import defaults
from engine.memory.budget import Budget, budget, refusal
from engine.memory.footprint import Estimate, Footprint, Loader, Peak
from engine.memory.vram_budget import said

GIB = 1 << 30
PATCH = 72 * 136 * 136 * 4


def knobs(**changed: Value) -> dict[str, Value]:
    return defaults() | changed


def document(**changed: object) -> Footprint:
    """The machine of document 002: one spawned worker of 7 GB, 77 of 80 GB used at batch 1, 12 cores, 170 GB."""
    known: dict[str, object] = {
        "sample_bytes": PATCH, "samples": 806, "device": "cuda", "parameters": 33_671_604,
        "loader": Loader(workers=1, context="spawn", batch=1, trainer=4 * GIB, pss=7.1 * GIB, uss=7.0 * GIB),
        "ram_free": 150 * GIB, "shm_free": 85 * GIB, "vram_total": 80 * GIB, "peaks": (Peak(batch=1, bytes=int(71.7 * GIB)),),
    }
    return Footprint(**known | changed)  # type: ignore[arg-type]


def test_another_patch_in_the_batch_costs_its_activations_and_not_its_input() -> None:
    """The document's "+5.3 MB (negligible)" would have ended in an out-of-memory error."""
    made = budget(knobs(batch_size=2, num_workers=1, multiprocessing_context="spawn"), document())
    assert made.vram.verdict == "over"
    assert made.vram.bytes > 130 * GIB
    assert "of activations a sample (kept for the backward pass, not the 5.1 MiB of its input)" in made.vram.sentence
    assert "of 73.6 GiB usable (92 % of 80.0 GiB)" in made.vram.sentence
    assert refusal(knobs(batch_size=2, num_workers=1, multiprocessing_context="spawn"), document()).endswith(
        "batch_size 1 with accumulate_steps 2 is as large a step with half the activations"
    )


def test_workers_are_added_up_as_they_were_measured() -> None:
    made = budget(knobs(num_workers=4, multiprocessing_context="spawn"), document())
    assert made.ram.verdict == "fits"
    assert made.ram.sentence.startswith("trainer 4.1 GiB + 4 workers × 7.0 GiB + 8 batches on the way × 5.1 MiB")
    assert "= 32.2 GiB of 150 GiB free" in made.ram.sentence
    small = document(ram_free=24 * GIB)
    assert budget(knobs(num_workers=4, multiprocessing_context="spawn"), small).ram.verdict == "over"
    assert "fewer num_workers takes less" in refusal(knobs(num_workers=4, multiprocessing_context="spawn"), small)
    assert refusal(knobs(num_workers=2, multiprocessing_context="spawn"), small) == ""


def test_where_the_trainer_alone_is_too_large_what_helps_is_said_and_not_fewer_workers() -> None:
    """33.7 million parameters and 16 GiB of activations a sample on a CPU: no number of workers makes that fit."""
    estimate = Estimate(batch=4, weights=128 << 20, gradients=128 << 20, optimizer=256 << 20, activations=16 * GIB)
    known = Footprint(sample_bytes=PATCH, estimate=estimate, ram_free=10 * GIB, shm_free=GIB)
    made = budget(knobs(batch_size=4, num_workers=2), known)
    assert made.ram.verdict == "over"
    assert made.advice == (
        "the trainer alone takes 17.0 GiB, whatever num_workers is; "
        "batch_size 2 with accumulate_steps 2 is as large a step and takes 9.0 GiB"
    )
    assert budget(knobs(batch_size=2, num_workers=2), known).ram.verdict != "over", "what is said to help does"
    small = msgspec.structs.replace(known, ram_free=3 * GIB)
    assert budget(knobs(batch_size=4, num_workers=2), small).advice == (
        "the trainer alone takes 17.0 GiB, whatever num_workers is; even batch_size 1 takes 5.0 GiB: what helps is "
        "a smaller network, smaller patches or volumes, a GPU or more than 5.0 GiB of RAM free"
    )
    elsewhere = Footprint(sample_bytes=PATCH, device="cuda", shares=2, ram_free=GIB, shm_free=GIB)
    assert budget(knobs(num_workers=2), elsewhere).advice == (
        "the trainer alone takes 3.0 GiB, whatever num_workers is; "
        "what helps is fewer runs side by side or more than 3.0 GiB of RAM free for each run"
    )
    none = budget(knobs(num_workers=0, batch_size=1), msgspec.structs.replace(known, ram_free=9 * GIB)).advice
    assert none == "", "there is room for one sample"


def test_two_measured_batch_sizes_make_a_line() -> None:
    known = document(peaks=(Peak(batch=1, bytes=11 * GIB), Peak(batch=2, bytes=21 * GIB)), vram_others=5 * GIB)
    made = budget(knobs(batch_size=6), known)
    assert made.vram.bytes == pytest.approx(61 * GIB)
    assert {part.basis for part in made.vram.parts} == {"measured here"}
    assert made.vram.verdict == "fits" and "− 5.0 GiB of others" in made.vram.sentence
    assert budget(knobs(batch_size=7), known).vram.verdict == "over"
    assert budget(knobs(batch_size=2), known).vram.bytes == pytest.approx(21 * GIB)


def test_before_anything_is_measured_an_estimate_is_marked_as_one() -> None:
    estimate = Estimate(batch=1, weights=600_000, gradients=600_000, optimizer=1_200_000, activations=16 * GIB)
    known = Footprint(sample_bytes=256**3 * 5, device="cuda", estimate=estimate, vram_total=24 * GIB)
    made = budget(knobs(), known)
    assert made.vram.sentence.endswith("[estimated]") and made.vram.verdict == "tight"
    assert made.vram.low < 16 * GIB < made.vram.high
    assert budget(knobs(batch_size=2), known).vram.verdict == "over"
    nothing = budget(knobs(), Footprint(device="cuda", vram_total=24 * GIB)).vram
    assert (nothing.verdict, nothing.sentence) == (
        "unknown", "not known before a step was measured or estimated of 22.1 GiB usable (92 % of 24.0 GiB)"
    )


def test_a_loader_that_was_not_measured_is_modelled_and_refuses_only_what_is_sure() -> None:
    known = Footprint(sample_bytes=256**3 * 5, ram_free=5 << 29, shm_free=64 << 20)
    made = budget(knobs(num_workers=4), known)
    assert made.ram.sentence.endswith("[modelled]") and made.ram.verdict == "tight"
    assert made.ram.low < made.ram.bytes < made.ram.high
    assert made.shm.verdict == "over" and "4 workers × 2 batches ahead × 80 MiB = 640 MiB" in made.shm.sentence
    assert "a smaller prefetch_factor or fewer num_workers" in refusal(knobs(num_workers=4), known)
    assert budget(knobs(num_workers=0), known).shm.sentence == "nothing of 64 MiB free"


def test_forked_workers_share_the_dataset_and_spawned_ones_copy_it() -> None:
    shared = Loader(workers=1, context="fork", batch=1, trainer=350 << 20, pss=200 << 20, uss=50 << 20)
    known = Footprint(loader=shared, ram_free=8 * GIB)
    one, four = (budget(knobs(num_workers=w), known).ram.bytes for w in (1, 4))
    assert one == pytest.approx(550 << 20) and four == pytest.approx((550 + 150) << 20)
    spawned = budget(knobs(num_workers=4, multiprocessing_context="spawn"), known).ram
    assert spawned.high > four + 4 * (350 << 20) and "[modelled: workers" in spawned.sentence
    copied = Loader(workers=1, context="spawn", batch=1, trainer=350 << 20, pss=510 << 20, uss=500 << 20)
    forked = budget(knobs(num_workers=4), Footprint(loader=copied)).ram
    assert forked.low < 600 << 20 and forked.high > 2 * GIB


def test_volumes_kept_in_every_worker_are_counted_in_every_worker() -> None:
    known = Footprint(sample_bytes=84 << 20, samples=148, ram_free=40 * GIB)
    made = budget(knobs(num_workers=4, cache="ram"), known)
    assert "4 workers × 12.3 GiB, each keeping all 148 volumes in the end" in made.ram.sentence
    assert made.ram.bytes > 48 * GIB and made.ram.verdict == "tight"
    assert "cache = disk keeps no volumes in the workers" in made.advice
    anew = budget(knobs(num_workers=4, cache="ram", persistent_workers=False), known)
    assert "4 workers × 3.2 GiB, each keeping 37 volumes in the end" in anew.ram.sentence
    assert budget(knobs(num_workers=0, cache="ram"), known).ram.bytes == pytest.approx(12.6 * GIB, rel=0.02)


def test_growth_that_was_measured_is_added_for_the_time_that_is_left() -> None:
    made = budget(knobs(num_workers=1, multiprocessing_context="spawn"), document(growth=0.4 * GIB, hours=37.0))
    assert "growing 410 MiB/h for 37 h more" in made.ram.sentence
    assert made.ram.bytes == pytest.approx((4.1 + 7.0 + 14.8) * GIB, rel=0.02)


def test_growth_that_has_an_end_is_added_up_to_it() -> None:
    made = budget(knobs(num_workers=1, multiprocessing_context="spawn"), document(growth=0.4 * GIB, growth_at_most=2.0 * GIB, hours=37.0))
    assert made.ram.bytes == pytest.approx((4.1 + 7.0 + 2.0) * GIB, rel=0.02)


def test_on_a_cpu_the_step_itself_is_host_memory() -> None:
    estimate = Estimate(batch=1, activations=2 * GIB)
    known = Footprint(estimate=estimate, loader=Loader(workers=0, context="fork", batch=1, trainer=3 * GIB))
    one, three = (budget(knobs(num_workers=0, batch_size=b), known).ram.bytes for b in (1, 3))
    assert three - one == pytest.approx(4 * GIB)
    assert budget(knobs(), known).vram.sentence == "nothing"


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 MiB"), (5.3e6, "5.1 MiB"), (41 << 20, "41 MiB"), (7.04 * GIB, "7.0 GiB"), (0.96 * GIB, "1.0 GiB"), (123 * GIB, "123 GiB")],
)
def test_sizes_are_said_in_three_digits(count: float, words: str) -> None:
    assert said(count) == words


SIZES = st.integers(1, 64 * GIB)
LOADERS = st.none() | st.builds(
    lambda workers, context, batch, trainer, pss, part, cached: Loader(
        workers=workers, context=context, batch=batch, trainer=trainer, pss=pss, uss=pss * part, cached=cached
    ),
    st.integers(0, 8), st.sampled_from(["fork", "spawn", "forkserver"]), st.integers(1, 8), SIZES, SIZES, st.floats(0, 1),
    st.booleans(),
)
KNOWN = st.builds(
    Footprint, sample_bytes=st.integers(1, GIB), samples=st.integers(0, 1000), device=st.sampled_from(["cpu", "cuda"]),
    parameters=st.integers(0, 10**9), loader=LOADERS, growth=st.none() | st.floats(1, 1e11), hours=st.none() | st.floats(0, 1000),
    ram_free=st.none() | SIZES, shm_free=st.none() | SIZES, vram_total=st.none() | SIZES, vram_others=st.integers(0, GIB),
    peaks=st.lists(st.builds(Peak, batch=st.integers(1, 64), bytes=SIZES), max_size=4, unique_by=lambda peak: peak.batch).map(tuple),
    estimate=st.none() | st.builds(Estimate, batch=st.integers(1, 8), weights=SIZES, activations=SIZES),
)
CHOICES = st.fixed_dictionaries(
    {
        "num_workers": st.integers(0, 16), "prefetch_factor": st.integers(1, 8), "batch_size": st.integers(1, 32),
        "val_num_workers": st.integers(0, 4), "cache": st.sampled_from(["disk", "ram", "none"]), "persistent_workers": st.booleans(),
        "multiprocessing_context": st.sampled_from(["fork", "spawn", "forkserver"]), "pin_memory": st.booleans(),
    }
)


def whole(made: Budget) -> list[float]:
    return [getattr(resource, field) for resource in made.resources for field in ("low", "bytes", "high")]


@settings(max_examples=300, deadline=None)
@given(CHOICES, KNOWN)
def test_every_budget_adds_up_and_is_ordered(chosen: Mapping[str, Value], known: Footprint) -> None:
    made = budget(knobs(**chosen), known)
    for resource in made.resources:
        assert 0 <= resource.low <= resource.bytes * 1.000001 and resource.bytes <= resource.high * 1.000001
        assert (resource.verdict == "unknown") == (resource.limit is None or any(part.basis == "unknown" for part in resource.parts))
        if resource.verdict == "over":
            assert resource.bytes > (resource.limit or 0) and refusal(knobs(**chosen), known)
        if resource.verdict == "fits":
            assert resource.high <= (resource.limit or 0)


@settings(max_examples=300, deadline=None)
@given(CHOICES, KNOWN, st.sampled_from(["num_workers", "prefetch_factor", "batch_size", "val_num_workers"]))
def test_more_of_anything_never_takes_less(chosen: Mapping[str, int], known: Footprint, name: str) -> None:
    if name == "num_workers" and chosen["cache"] == "ram" and not (chosen["num_workers"] and chosen["persistent_workers"]):
        return  # the trainer's own copies become the workers', or each of them keeps fewer
    less, more = budget(knobs(**chosen), known), budget(knobs(**{**chosen, name: chosen[name] + 1}), known)
    for before, after in zip(whole(less), whole(more), strict=True):
        assert after >= before * 0.999 - 16


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 16), st.integers(0, 20 * GIB), st.integers(1 << 20, 8 * GIB), st.lists(st.integers(1, 64), min_size=2, max_size=5, unique=True))
def test_a_line_that_was_measured_is_found_again(batch: int, fixed: int, each: int, measured: list[int]) -> None:
    peaks = tuple(Peak(batch=b, bytes=fixed + each * b) for b in measured)
    made = budget(knobs(batch_size=batch), Footprint(device="cuda", peaks=peaks, sample_bytes=1000))
    assert made.vram.bytes == pytest.approx(fixed + each * batch, rel=1e-6)
