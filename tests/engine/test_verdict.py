"""How ended runs are named: a table of what is left behind, and what may be concluded from it."""

from __future__ import annotations

import signal

import msgspec
import pytest
from hypothesis import given, strategies as st

from engine.journals.records import ResultInfo
from engine.runs.verdict import Evidence, classify

WORKER_KILLED = """\
RuntimeError: DataLoader worker (pid 4242) is killed by signal: Killed.
Traceback (most recent call last):
RuntimeError: DataLoader worker (pid(s) 4242) exited unexpectedly
"""
SHM = "RuntimeError: unable to allocate shared memory(shm) for file </torch_1_2>: No space left on device (28)"
BUS = "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are out of shared memory."


def said(outcome: str, error_class: str = "", error: str = "") -> ResultInfo:
    return ResultInfo(outcome=outcome, attempt=1, step=120, error_class=error_class, error=error)  # type: ignore[arg-type]


TABLE = [
    ("it said finished and exited 0", Evidence(result=said("finished"), rc=0), "finished", "finished"),
    (
        "it said finished although a signal came after",
        Evidence(result=said("finished"), signal=15),
        "finished",
        "finished",
    ),
    (
        "stopped as asked, torchrun exits 1 all the same",
        Evidence(result=said("stopped"), rc=1, stop="now"),
        "stopped",
        "user_stop",
    ),
    ("stopped by somebody's SIGTERM", Evidence(result=said("stopped"), rc=3), "stopped", "external_stop"),
    ("forced", Evidence(signal=9, stop="force"), "stopped", "forced"),
    (
        "asked to stop, did not, killed after the grace",
        Evidence(signal=9, stop="now", escalated=True),
        "stopped",
        "forced",
    ),
    ("killed, no kill counted", Evidence(signal=9), "failed", "external_kill"),
    ("killed, and the machine counted a memory kill", Evidence(signal=9, oom_kills=1), "failed", "host_oom_kill"),
    ("killed by its container's limit", Evidence(signal=9, cgroup_kills=1, oom_kills=1), "failed", "cgroup_oom_kill"),
    ("the kernel took a worker", Evidence(rc=1, tail=WORKER_KILLED, oom_kills=1), "failed", "host_oom_kill"),
    ("the container's limit took a worker", Evidence(rc=1, tail=WORKER_KILLED, cgroup_kills=2), "failed", "cgroup_oom_kill"),
    (
        "CUDA refused page-locked memory",
        Evidence(result=said("failed", "RuntimeError", "Pin memory thread exited unexpectedly"), rc=1),
        "failed",
        "pin_memory",
    ),
    (
        "no context fits into the GPU",
        Evidence(result=said("failed", "AcceleratorError", "CUDA error: out of memory"), rc=1),
        "failed",
        "gpu_oom",
    ),
    ("SIGTERM without a last word", Evidence(signal=15), "failed", "external_kill"),
    ("segmentation fault", Evidence(signal=11), "failed", "crash"),
    (
        "CUDA out of memory, structured",
        Evidence(result=said("failed", "torch.OutOfMemoryError", "CUDA out of memory"), rc=1),
        "failed",
        "gpu_oom",
    ),
    (
        "CUDA out of memory in the log only",
        Evidence(rc=1, tail="RuntimeError: CUDA out of memory. Tried to allocate"),
        "failed",
        "gpu_oom",
    ),
    (
        "cuBLAS could not allocate",
        Evidence(rc=1, tail="RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED"),
        "failed",
        "gpu_oom",
    ),
    ("NaN", Evidence(result=said("failed", "NaNLoss", "at step 120"), rc=1), "failed", "nan_loss"),
    ("shm through the worker", Evidence(rc=1, tail=SHM), "failed", "shm_exhausted"),
    ("a bus error with /dev/shm full", Evidence(rc=1, tail=BUS, shm=0.97), "failed", "shm_exhausted"),
    ("a bus error with room in /dev/shm", Evidence(rc=1, tail=BUS, shm=0.03), "failed", "bus_error"),
    ("a worker killed: told twice, the cause first", Evidence(rc=1, tail=WORKER_KILLED), "failed", "worker_killed"),
    (
        "a worker gone",
        Evidence(rc=1, tail="RuntimeError: DataLoader worker (pid(s) 9) exited unexpectedly"),
        "failed",
        "worker_crash",
    ),
    (
        "a worker raised",
        Evidence(result=said("failed", "ValueError", "Caught ValueError in DataLoader worker process 0."), rc=1),
        "failed",
        "worker_crash",
    ),
    (
        "malloc refused",
        Evidence(rc=1, tail="RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory"),
        "failed",
        "host_alloc",
    ),
    ("python's MemoryError", Evidence(result=said("failed", "MemoryError"), rc=1), "failed", "host_alloc"),
    ("disk full", Evidence(rc=1, tail="OSError: [Errno 28] No space left on device"), "failed", "disk_full"),
    (
        "quota",
        Evidence(result=said("failed", "OSError", "[Errno 122] Disk quota exceeded"), rc=1),
        "failed",
        "disk_full",
    ),
    (
        "stopped while volumes were prepared",
        Evidence(result=said("stopped"), rc=3, stop="now", preparing=True),
        "stopped",
        "user_stop",
    ),
    ("preparation ended by force", Evidence(signal=9, stop="force", preparing=True), "stopped", "forced"),
    ("no room for a last word", Evidence(rc=1, disk_full=True), "failed", "disk_full"),
    ("a full disk besides", Evidence(result=said("failed", "KeyError", "'dice'"), rc=1, disk_full=True), "failed", "crash"),
    (
        "volumes that will not fit",
        Evidence(result=msgspec.structs.replace(said("failed", "DiskFull", "9 GB needed"), kind="disk_full"), rc=2),
        "failed",
        "disk_full",
    ),
    ("a bad volume", Evidence(result=said("failed", "DataError", "a.nii.gz: truncated"), rc=2), "failed", "bad_data"),
    (
        "no valid checkpoint",
        Evidence(result=said("failed", "CheckpointError", "none"), rc=1),
        "failed",
        "bad_checkpoint",
    ),
    ("an ordinary bug", Evidence(result=said("failed", "KeyError", "'dice'"), rc=1), "failed", "crash"),
    ("exited 0 without a word", Evidence(rc=0), "failed", "crash"),
    ("gone, nobody's child", Evidence(), "lost", "lost"),
    ("gone with the machine", Evidence(rebooted=True), "lost", "lost"),
]


@pytest.mark.parametrize(("story", "evidence", "outcome", "kind"), TABLE, ids=[row[0] for row in TABLE])
def test_the_truth_table(story: str, evidence: Evidence, outcome: str, kind: str) -> None:
    found, verdict = classify(evidence)
    assert (found, verdict.kind) == (outcome, kind)
    assert verdict.text
    if found in ("failed", "lost"):
        assert verdict.advice


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence(result=said("stopped"), stop="now", preparing=True),
        Evidence(signal=9, stop="force", preparing=True),
        Evidence(signal=9, preparing=True),
        Evidence(preparing=True),
    ],
)
def test_preparation_has_neither_steps_nor_checkpoints(evidence: Evidence) -> None:
    verdict = classify(evidence)[1]
    assert verdict.advice == "`steptop resume` goes on with what is prepared"
    assert "step " not in verdict.text and "checkpoint" not in verdict.text


@pytest.mark.parametrize("evidence", [Evidence(signal=9), Evidence(signal=9, oom_kills=2), Evidence(rc=0), Evidence()])
def test_what_is_uncertain_says_so(evidence: Evidence) -> None:
    assert not classify(evidence)[1].sure


def test_a_log_cannot_write_to_the_terminal_through_the_evidence() -> None:
    _, verdict = classify(Evidence(rc=1, tail="\x1b]52;c;ZXZpbA==\x07CUDA out of memory \x1b[2J"))
    assert "\x1b" not in "".join(verdict.evidence)
    assert verdict.kind == "gpu_oom"


RAISED = 'Traceback (most recent call last):\n  File "train.py", line 9, in <module>\n    step()\n'
CAUGHT = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB: batch skipped\n"
STEPS = "step\n" * 30
WORKER = "RuntimeError: DataLoader worker (pid 42) is killed by signal: "
MEMORY = "MemoryError: Caught MemoryError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\nMemoryError"

# fmt: off
# A story, what is left behind, the kind, whether it is certain, words of the sentence, and a line that shows it.
NAMED = [
    ("a worker crashed", Evidence(rc=1, tail=f"{WORKER}Segmentation fault. "), "worker_crash", True, "not for want of memory", "Segmentation fault"),
    ("a worker aborted", Evidence(rc=1, tail=f"{WORKER}Aborted. "), "worker_crash", True, "crashed", "Aborted"),
    ("somebody ended a worker", Evidence(rc=1, tail=f"{WORKER}Terminated. "), "worker_killed", True, "from outside", "Terminated"),
    ("a worker killed, no kill counted", Evidence(rc=1, tail=f"{WORKER}Killed. "), "worker_killed", False, "from outside", "Killed"),
    ("no room to write a batch", Evidence(rc=1, tail="RuntimeError: unable to write to file </torch_1_2>: No space left on device (28)"), "shm_exhausted", True, "/dev/shm was full", "</torch_1_2>"),
    ("no room to grow a batch", Evidence(rc=1, tail="RuntimeError: unable to resize file </torch_1_2> to the right size: No space left on device (28)"), "shm_exhausted", True, "/dev/shm was full", "resize"),
    ("no room for a file of one's own", Evidence(rc=1, tail="OSError: [Errno 28] No space left on device: '/data/torch_model.pt'"), "disk_full", True, "the disk is full", "torch_model"),
    ("a batch cannot be mapped", Evidence(rc=1, tail="RuntimeError: unable to mmap 1024 bytes from file </torch_1>: Cannot allocate memory (12)"), "mmap_limit", False, "could not be mapped", "unable to mmap"),
    ("a worker's bus error, /dev/shm full", Evidence(rc=1, tail=f"{WORKER}Bus error. ", shm=0.97), "shm_exhausted", False, "/dev/shm was full", "/dev/shm was 97% used at the end"),
    ("a worker's bus error, /dev/shm empty", Evidence(rc=1, tail=f"{WORKER}Bus error. ", shm=0.02), "bus_error", False, "truncated", "/dev/shm was 2% used at the end"),
    ("the trainer's bus error", Evidence(signal=7, tail="Fatal Python error: Bus error"), "bus_error", False, "truncated", "signal 7"),
    ("CUDA's refusal caught, then SIGTERM", Evidence(signal=15, tail=f"{CAUGHT}epoch 7 done\n"), "external_kill", True, "SIGTERM", "epoch 7 done"),
    ("CUDA's refusal caught long ago, then a bug", Evidence(rc=1, tail=f"{CAUGHT}{STEPS}{RAISED}KeyError: 'x'"), "crash", True, "exited with 1", "earlier in the log"),
    ("CUDA's refusal caught just before, then a bug", Evidence(rc=1, tail=f"{CAUGHT}step\n{RAISED}KeyError: 'x'"), "crash", True, "exited with 1", "KeyError: 'x'"),
    ("a traceback logged long ago, then a bug", Evidence(rc=1, tail=f"{RAISED}{CAUGHT}{STEPS}KeyError: 'x'"), "crash", True, "exited with 1", "KeyError: 'x'"),
    ("CUDA's refusal caught, then a bug that it told of", Evidence(rc=1, result=said("failed", "KeyError", "'x'"), tail=f"{CAUGHT}epoch 7 done\n"), "crash", True, "KeyError", "epoch 7 done"),
    ("CUDA's refusal was what an error was raised from", Evidence(rc=1, tail=f"{RAISED}{CAUGHT}\nThe above exception was the direct cause of the following exception:\n\n{RAISED}RuntimeError: no step"), "gpu_oom", True, "GPU's memory", "CUDA out of memory"),
    ("it may have gone on after CUDA's refusal", Evidence(rc=1, tail="CUDA out of memory: batch skipped\nstep\nstep\nstep\n"), "gpu_oom", False, "GPU's memory", "CUDA out of memory"),
    ("no compiler", Evidence(rc=1, result=said("failed", "InductorError", "RuntimeError: Failed to find C compiler. Please specify via CC")), "not_compiled", True, "could not compile the network", "Failed to find C compiler"),
    ("no C++ compiler", Evidence(rc=1, result=said("failed", "InductorError", "InvalidCxxCompiler: No working C++ compiler found")), "not_compiled", True, "could not compile", "No working C++"),
    ("out of memory in a compiled network", Evidence(rc=1, tail=f"{RAISED}torch._inductor.exc.InductorError: OutOfMemoryError: CUDA out of memory. Tried to allocate"), "gpu_oom", True, "memory was full", "CUDA out of memory"),
    ("no cuDNN algorithm", Evidence(rc=1, result=said("failed", "RuntimeError", "GET was unable to find an engine to execute this computation")), "gpu_oom", False, "most often for want of", "unable to find an engine"),
    ("an uncorrectable bit", Evidence(rc=1, result=said("failed", "AcceleratorError", "CUDA error: uncorrectable ECC error encountered")), "gpu_fault", True, "the GPU failed", "uncorrectable ECC"),
    ("a wild kernel", Evidence(rc=1, result=said("failed", "AcceleratorError", "CUDA error: an illegal memory access was encountered")), "gpu_fault", True, "the GPU failed", "illegal memory access"),
    ("killed behind a shell", Evidence(rc=137), "external_kill", False, "SIGKILL", "exit code 137"),
    ("killed for memory behind a shell", Evidence(rc=137, oom_kills=1), "host_oom_kill", False, "ran out of memory", "exit code 137"),
    ("its container's limit behind a shell", Evidence(rc=137, cgroup_kills=1), "cgroup_oom_kill", False, "limit", "exit code 137"),
    ("ended behind a shell", Evidence(rc=143), "external_kill", False, "SIGTERM", "exit code 143"),
    ("crashed behind a shell", Evidence(rc=139), "crash", False, "SIGSEGV", "exit code 139"),
    ("an exit code that is no signal's", Evidence(rc=255, tail="bye"), "crash", True, "exited with 255", "bye"),
    ("a worker ran out of memory", Evidence(rc=1, tail=MEMORY), "host_alloc", True, "to a loader worker", "Caught MemoryError"),
    ("a worker ran out of memory, structured", Evidence(rc=1, result=said("failed", "MemoryError", "Caught MemoryError in DataLoader worker process 0.")), "host_alloc", True, "to a loader worker", "Caught MemoryError"),
    ("a worker's bad volume", Evidence(rc=2, result=said("failed", "DataError", "Caught DataError in DataLoader worker process 0.")), "bad_data", True, "cannot be trained on", "DataError"),
]
# fmt: on


@pytest.mark.parametrize(("story", "evidence", "kind", "sure", "words", "line"), NAMED, ids=[row[0] for row in NAMED])
def test_what_is_called_what_and_how_surely(
    story: str, evidence: Evidence, kind: str, sure: bool, words: str, line: str
) -> None:
    _, verdict = classify(evidence)
    assert (verdict.kind, verdict.sure) == (kind, sure), verdict
    assert words in verdict.text
    assert any(line in one for one in verdict.evidence), verdict.evidence


results = st.builds(
    ResultInfo,
    outcome=st.sampled_from(["finished", "stopped", "failed", "lost"]),
    attempt=st.just(1),
    step=st.integers(0, 10**6),
    error_class=st.text(max_size=20),
    error=st.text(max_size=80),
)
evidences = st.builds(
    Evidence,
    result=st.none() | results,
    rc=st.none() | st.integers(0, 255),
    signal=st.none() | st.integers(1, 64),
    stop=st.sampled_from([None, "after_run", "now", "force"]),
    escalated=st.booleans(),
    oom_kills=st.integers(0, 3),
    tail=st.text(max_size=300),
)


@given(evidences)
def test_anything_gets_a_verdict_and_finished_is_only_what_said_so(evidence: Evidence) -> None:
    outcome, verdict = classify(evidence)
    assert verdict.kind
    if outcome == "finished":
        assert evidence.result is not None
        assert evidence.result.outcome == "finished"


@given(evidences.filter(lambda e: e.result is None and e.stop is None and not e.escalated))
def test_a_process_that_said_nothing_and_was_not_asked_to_stop_never_ended_well(evidence: Evidence) -> None:
    assert classify(evidence)[0] in ("failed", "lost")


def test_the_signal_numbers_are_named() -> None:
    assert "SIGSEGV" in classify(Evidence(signal=signal.SIGSEGV))[1].text
