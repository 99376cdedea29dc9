"""Lines that give away why a training ended, in the order in which they decide."""

from __future__ import annotations

import re
from typing import NamedTuple


class Sign(NamedTuple):
    """A line that gives a kind away, in a log or an exception's text. `sure`: whether it can mean nothing else."""

    kind: str
    regex: re.Pattern[str]
    text: str
    advice: str
    sure: bool = True


def _sign(kind: str, regex: str, text: str, advice: str, sure: bool = True) -> Sign:
    return Sign(kind, re.compile(regex, re.IGNORECASE), text, advice, sure)


SMALLER_SHM = "fewer num_workers or a smaller prefetch_factor, or a larger /dev/shm"

SIGNS = (
    _sign(
        "gpu_oom",
        r"CUDA out of memory|torch\.OutOfMemoryError|CUDA error: out of memory"
        r"|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED",
        "the GPU's memory was full",
        "a smaller batch_size, or precision = fp16; another process may hold memory (see the Machine panel)",
    ),
    # Files named /torch_… are batches in shared memory, not files of a disk.
    _sign(
        "mmap_limit",
        r"unable to mmap .*</torch_.*Cannot allocate memory",
        "a batch in shared memory could not be mapped: out of memory, address space or mappings",
        "fewer num_workers or a smaller prefetch_factor; `ulimit -v` and vm.max_map_count are the limits to look at",
        sure=False,
    ),
    _sign(
        "shm_exhausted",
        r"unable to allocate shared memory|</torch_[^>]*>.*No space left on device|No space left on device.*</torch_",
        "/dev/shm was full: the loader's workers pass batches through it",  # noqa: S108  a text
        SMALLER_SHM,
    ),
    _sign(
        "worker_host_alloc",
        r"Caught \w*MemoryError in DataLoader worker process",
        "the machine refused memory to a loader worker",
        "fewer num_workers, smaller volumes or patches, or other programs ended",
    ),
    _sign(
        "host_alloc",
        r"DefaultCPUAllocator: can't allocate memory|ArrayMemoryError|^MemoryError|Cannot allocate memory",
        "the machine refused memory to the trainer",
        "fewer num_workers, a smaller batch_size, or other programs ended",
    ),
    _sign(
        "worker_crash",
        r"DataLoader worker \(pid.* is killed by signal: "
        r"(?:Segmentation fault|Aborted|Illegal instruction|Floating point exception|Trace/breakpoint trap)",
        "a loader worker crashed inside a library, not for want of memory",
        "num_workers = 0 or multiprocessing_context = spawn shows whether forking it is to blame; "
        "`steptop check` reads every volume",
    ),
    _sign(
        "worker_bus_error",
        r"DataLoader worker \(pid.* is killed by signal: Bus error",
        "a loader worker was ended by SIGBUS: a page of a mapped file was not to be had",
        SMALLER_SHM,
        sure=False,
    ),
    _sign(
        "worker_killed",
        r"DataLoader worker \(pid.* is killed by signal: (?:Terminated|Hangup|Interrupt)",
        "a loader worker was ended from outside",
        "somebody asked it to end, which is not a lack of memory; then `steptop resume`",
    ),
    _sign(
        "worker_killed",
        r"DataLoader worker \(pid.* is killed by signal: \w+",
        "a loader worker was killed from outside",
        "most often the kernel ran out of memory: fewer num_workers; then `steptop resume`",
        sure=False,
    ),
    _sign(
        "worker_crash",
        r"DataLoader worker \(pid.* exited unexpectedly|Caught \w+ in DataLoader worker process",
        "a loader worker crashed",
        "the log names the sample; `steptop check` reads every volume",
    ),
    _sign(
        "pin_memory",
        r"Pin memory thread exited unexpectedly",
        "the thread that copies batches into page-locked memory died",
        "pin_memory = false; the log may say what CUDA refused",
    ),
    _sign(
        "gpu_oom",
        r"unable to find an engine to execute this computation|Unable to find a valid cuDNN algorithm",
        "cuDNN found no way to compute a convolution, most often for want of the GPU's memory",
        "a smaller batch_size, or precision = fp16; another process may hold memory (see the Machine panel)",
        sure=False,
    ),
    _sign(
        "gpu_fault",
        r"CUDA error: (?:an illegal memory access|unspecified launch failure|misaligned address|uncorrectable ECC"
        r"|device-side assert|unknown error|.*hardware error)|GPU is lost|fallen off the bus",
        "the GPU failed in the middle of its work",
        "`nvidia-smi -q` and `dmesg` (lines with Xid) say whether it is the device; `steptop resume` goes on from the "
        "last checkpoint",
    ),
    _sign(
        "not_compiled",
        r"torch\._(?:inductor|dynamo)\.exc\.|\bInductorError\b|\bBackendCompilerFailed\b|Failed to find C compiler",
        "torch could not compile the network",
        "compile = false; compiling takes a C compiler and Python's headers (on Debian or Ubuntu: apt install gcc g++ "
        "python3-dev)",
    ),
    _sign(
        "disk_full",
        r"No space left on device|Disk quota exceeded|Errno 28|Errno 122",
        "the disk is full",
        "free some space; the last whole checkpoint is intact; then `steptop resume`",
    ),
    _sign(
        "bad_data",
        r"\bDataError\b",
        "a volume cannot be trained on",
        "`steptop check` lists every such file and its remedy",
    ),
)

BY_KIND = {sign.kind: sign for sign in reversed(SIGNS)}
# Told apart for its words; to whoever counts kinds it is one.
SAME = {"worker_host_alloc": "host_alloc"}
IN_WORKER = re.compile(r"Caught \w+ in DataLoader worker process")
