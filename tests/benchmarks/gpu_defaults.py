"""Peak memory and time of a step on a GPU for MeshNet-26 at 256³ and the 33.7 M residual U-Net at 72×136×136, in every
precision, memory layout, compiled or not. `python -m tests.benchmarks.gpu_defaults [--device 0] [--json FILE]`

It needs a CUDA GPU; `--device cpu --small` only shows that it runs. Every combination is a process of its own, so that
neither memory nor what one has compiled counts for the next; one that runs out of memory or that torch cannot compile
says so, and the next one follows. Those that are not compiled come first, and what `--minutes` has no time for is said
to be left out. A step is the trainer's: forward, loss, backward, optimizer, on a batch that stays on the device. The
U-Net's topological term is left out: it is computed on the host, at every tenth step. Its activations are kept, unless
`--recompute yes` has them computed again (activation_checkpointing), as its experiment does.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch

from engine.config.experiment import Experiment, load, resolve_profile
from engine.errors import UsageError
from engine.text import clean
from engine.training import device as devices, tasks
from engine.training.learner import Learner
from engine.training.samples import Batch
from tests.benchmarks._gpu_table import Measured, Setting, table

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ROOT / "engine" / "experiments"
MODELS = {"meshnet-26": "arc-meshnet26", "residual-unet": "vesuvius-surface"}
# What `--small` trains instead: seconds on a CPU, figures of no use.
SMALL: dict[str, dict[str, Any]] = {
    "meshnet-26": {"channels": 3}, "residual-unet": {"channels": 2, "multipliers": (1, 2, 2), "blocks": 1},
}
SMALL_SIDES = (16, 16, 16)
BATCH = {"meshnet-26": 1, "residual-unet": 2}
# The first steps compile and try convolution algorithms; timed ones end early once they have taken so long.
WARM_UP, LEAST, LONG_ENOUGH_SECONDS = 3, 3, 5.0
FOREGROUND = 0.05
# One process, the longest: the U-Net's forward and backward pass compiled.
PATIENCE_SECONDS = 240.0
# Of --minutes, before the last process must be over.
MARGIN_SECONDS = 5.0
NO_GPU = (
    "gpu_defaults measures a CUDA GPU and this machine shows none (torch {torch}, {built}).\n"
    "Run it on a machine with one; --device cpu --small only shows that it runs."
)


def experiment_of(setting: Setting) -> Experiment:
    whole = load(EXPERIMENTS / f"{MODELS[setting.model]}.toml")
    loss = msgspec.structs.replace(
        whole.loss, terms={name: term for name, term in whole.loss.terms.items() if name != "top_loss"}
    )
    whole = msgspec.structs.replace(whole, loss=loss)
    if setting.small:
        whole = msgspec.structs.replace(whole, model=msgspec.structs.replace(whole.model, **SMALL[setting.model]))
    if not setting.sides:
        return whole
    if whole.patch.whole:
        return msgspec.structs.replace(whole, prepare=msgspec.structs.replace(whole.prepare, shape=setting.sides))
    return msgspec.structs.replace(whole, patch=msgspec.structs.replace(whole.patch, shape=setting.sides))


def batch_of(experiment: Experiment, size: int) -> Batch:
    """Noise, and a label that marks some of it."""
    example = tasks.TASKS[experiment.task].example(experiment, size)
    draw = torch.Generator().manual_seed(1)
    image = torch.rand(example.image.shape, generator=draw)
    label = (torch.rand(example.label.shape, generator=draw) < FOREGROUND).to(torch.uint8)
    return example._replace(image=image, label=label)


def measure(setting: Setting) -> Measured:
    """WARM_UP steps, the first of which compiles, then at most `steps` timed ones. What stops it is an answer too."""
    torch.manual_seed(1)
    knobs = {
        "precision": setting.precision, "channels_last": setting.channels_last, "compile": setting.compile,
        "activation_checkpointing": setting.recompute,
    }
    try:
        experiment, device = experiment_of(setting), devices.chosen(setting.device)
        profile, _ = resolve_profile(experiment, "benchmark", "", {}, knobs, override_locks=True)
        return _measured(setting, experiment, Learner(experiment, profile, device, 10_000), device)
    except torch.OutOfMemoryError:
        return Measured(error="out of memory")
    except UsageError:
        raise
    except Exception as failure:
        return Measured(error=words(failure))


def words(failure: BaseException) -> str:
    """In a line. torch names what compiling it failed by its own classes, and ends its messages with advice."""
    kind = type(failure)
    compiling = kind.__module__.startswith(("torch._inductor", "torch._dynamo", "triton"))
    said = next((line for line in map(clean, str(failure).splitlines()) if line.strip()), "").strip()
    return f"{'not compiled: ' if compiling else ''}{kind.__name__}: {said[:160]}"


def _measured(setting: Setting, experiment: Experiment, learner: Learner, device: torch.device) -> Measured:
    task, active = tasks.TASKS[experiment.task], list[str]()
    learner.ready(lambda dtype, where: active.append(dtype + (" (TF32)" if "TF32" in where else "")))
    learner.model.train()
    batch = learner.to_device(batch_of(experiment, BATCH[setting.model]))
    seconds, losses = list[float](), list[float]()
    for step in range(WARM_UP + max(LEAST, setting.steps)):
        if step == WARM_UP:
            # Convolution algorithms are tried, and compiled, with memory of their own.
            _give_back(device)
            devices.forget_peak(device)
        if step >= WARM_UP + LEAST and sum(seconds[WARM_UP:]) > LONG_ENOUGH_SECONDS:
            break
        _wait(device)
        began = time.perf_counter()
        with learner.autocast():
            outputs = task.forward(learner, batch)
            loss = task.losses(learner, outputs, batch, step).total
        learner.scaler.scale(loss).backward()
        learner.descend()
        learner.schedule.step()
        _wait(device)
        seconds.append(time.perf_counter() - began)
        losses.append(loss.item())
    told = devices.memory(device)
    return Measured(
        seconds=statistics.median(seconds[WARM_UP:]), first=seconds[0], loss=losses[WARM_UP + LEAST - 1],
        steps=len(seconds) - WARM_UP, parameters=learner.parameters,
        allocated=told.peak_allocated if told else 0, reserved=told.peak_reserved if told else 0,
        active=active[0] if active else "",
    )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _give_back(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()


def in_a_process(setting: Setting, patience: float = PATIENCE_SECONDS) -> Measured:
    """`measure` in a process of its own; what it died of, if it did."""
    command = [sys.executable, "-m", "tests.benchmarks.gpu_defaults", "--one", msgspec.json.encode(setting).decode()]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", cwd=ROOT,
        start_new_session=True,
    ) as process:
        try:
            said, log = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            return Measured(error=f"not done after {patience:.0f} s")
        finally:
            _end(process)
    if process.returncode:
        last = (log.strip().splitlines() or ["no word"])[-1]
        return Measured(error=f"exit {process.returncode}: {clean(last)[:160]}")
    return msgspec.json.decode(said.splitlines()[-1], type=Measured)


def _end(process: subprocess.Popen[str]) -> None:
    """It and those that compile for it: they are of its session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def settings(asked: argparse.Namespace) -> list[Setting]:
    """Every combination that was asked for, compiled ones last, networks in turns, so that of each the likeliest defaults
    are measured first; only the U-Net can compute its activations again."""
    found = []
    sides = tuple(asked.sides) if asked.sides else SMALL_SIDES if asked.small else ()
    for compiled, precision, last, model in itertools.product(
        sorted(asked.compile), asked.precision, asked.channels_last, asked.models
    ):
        for recompute in asked.recompute if model == "residual-unet" else [False]:
            found.append(Setting(
                model=model, precision=precision, channels_last=last, compile=compiled, recompute=recompute,
                device=asked.device, small=asked.small, sides=sides, steps=asked.steps,
            ))
    return found


def measure_all(asked: argparse.Namespace, name: str) -> list[tuple[Setting, Measured]]:
    """One after the other, each told as it is done; what was found so far is in the file at any moment."""
    until, found = time.monotonic() + asked.minutes * 60, list[tuple[Setting, Measured]]()
    for setting in settings(asked):
        left = until - time.monotonic() - MARGIN_SECONDS
        told = in_a_process(setting, min(PATIENCE_SECONDS, left)) if left > 0 else Measured(error="left out: no time")
        found.append((setting, told))
        done = f"{told.seconds * 1e3:.1f} ms a step, the first {told.first:.1f} s"
        print(f"  {setting.model}, {setting.words}: {told.error or done}", flush=True)
        if asked.json is not None:
            save(asked.json, name, found)
    return found


def save(path: Path, name: str, found: Sequence[tuple[Setting, Measured]]) -> None:
    figures = [{"setting": msgspec.to_builtins(one), **msgspec.to_builtins(told)} for one, told in found]
    whole = {"device": name, "torch": str(torch.__version__), "cuda": torch.version.cuda or "", "figures": figures}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(whole)))


def main() -> int:
    asked = arguments()
    if asked.one:
        print(msgspec.json.encode(measure(msgspec.json.decode(asked.one, type=Setting))).decode())
        return 0
    if asked.device != "cpu" and not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU"
        print(NO_GPU.format(torch=torch.__version__, built=built), file=sys.stderr)
        return 2
    if asked.device == "cpu" and not asked.small:
        print("On a CPU these networks take minutes a step: add --small, which shows that it runs", file=sys.stderr)
        return 2
    try:
        name = devices.name(devices.chosen(asked.device))
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{name}, torch {torch.__version__}, at most {asked.steps} steps each", flush=True)
    found = measure_all(asked, name)
    print("\n".join(table(found)))
    if asked.json is not None:
        print(f"written to {asked.json}")
    return 1 if all(told.error for _, told in found) else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu_defaults")

    def yes_or_no(text: str) -> bool:
        if text not in ("yes", "no"):
            raise argparse.ArgumentTypeError(f"{text!r}: yes or no")
        return text == "yes"

    parser.add_argument("--device", default="0", help="number of a CUDA device, or cpu with --small")
    parser.add_argument("--small", action="store_true", help="tiny networks and volumes")
    parser.add_argument("--sides", nargs=3, type=int, metavar="N", help="of a sample, voxels, instead of the experiments'")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument(
        "--precision", nargs="+", choices=["fp32", "fp16", "bf16"], default=["fp16", "bf16", "fp32"],
        help="fp32 has TF32 in its convolutions where the GPU knows it",
    )
    for name, usual in (("channels_last", [False, True]), ("compile", [False, True]), ("recompute", [False])):
        parser.add_argument(f"--{name.replace('_', '-')}", nargs="+", type=yes_or_no, default=usual, metavar="yes|no")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=8.5, help="for all of them together")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
