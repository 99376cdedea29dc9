"""Peak memory and time of a step on a GPU for MeshNet-26 at 256³ and the 33.7 M residual U-Net at 72×136×136, in every
precision, memory layout, compiled or not. `python -m tests.benchmarks.gpu_defaults [--device 0]`

It needs a CUDA GPU; `--device cpu --small` only shows that it runs. Every combination is a process of its own, so that
neither memory nor what one has compiled counts for the next; one that runs out of memory says so. A step is the
trainer's: forward, loss, backward, optimizer, on a batch that stays on the device. The U-Net's topological term is left
out: it is computed on the host, at every tenth step. Its activations are kept, or computed again (activation_checkpointing).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
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
from engine.training import device as devices, tasks
from engine.training.learner import Learner
from engine.training.samples import Batch
from tests.benchmarks import _rig

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ROOT / "engine" / "experiments"
MODELS = {"meshnet-26": "arc-meshnet26", "residual-unet": "vesuvius-surface"}
# What `--small` trains instead: seconds on a CPU, figures of no use.
SMALL: dict[str, dict[str, Any]] = {
    "meshnet-26": {"channels": 3}, "residual-unet": {"channels": 2, "multipliers": (1, 2, 2), "blocks": 1},
}
SMALL_SHAPE = (16, 16, 16)
BATCH = {"meshnet-26": 1, "residual-unet": 2}
WARM_UP = 3
FOREGROUND = 0.05
PATIENCE_SECONDS = 900.0
NO_GPU = (
    "gpu_defaults measures a CUDA GPU and this machine shows none (torch {torch}, {built}).\n"
    "Run it on a machine with one; --device cpu --small only shows that it runs."
)


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One combination, a process's work."""

    model: str
    precision: str
    channels_last: bool
    compile: bool
    recompute: bool
    device: str
    small: bool
    steps: int

    @property
    def words(self) -> str:
        said = [self.precision, "channels_last" if self.channels_last else "contiguous"]
        return ", ".join([*said, *["compile"] * self.compile, *["activation_checkpointing"] * self.recompute])


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of a step (median) and of the first one; bytes at the peak, 0 where the device does not tell; `loss` after
    the last step."""

    seconds: float = 0.0
    first: float = 0.0
    allocated: int = 0
    reserved: int = 0
    loss: float = 0.0
    active: str = ""
    parameters: int = 0
    error: str = ""


def experiment_of(setting: Setting) -> Experiment:
    whole = load(EXPERIMENTS / f"{MODELS[setting.model]}.toml")
    loss = msgspec.structs.replace(
        whole.loss, terms={name: term for name, term in whole.loss.terms.items() if name != "top_loss"}
    )
    whole = msgspec.structs.replace(whole, loss=loss)
    if not setting.small:
        return whole
    model = msgspec.structs.replace(whole.model, **SMALL[setting.model])
    patch = whole.patch if whole.patch.whole else msgspec.structs.replace(whole.patch, shape=SMALL_SHAPE)
    prepare = msgspec.structs.replace(whole.prepare, shape=SMALL_SHAPE) if whole.patch.whole else whole.prepare
    return msgspec.structs.replace(whole, model=model, patch=patch, prepare=prepare)


def batch_of(experiment: Experiment, size: int) -> Batch:
    """Noise, and a label that marks some of it."""
    example = tasks.TASKS[experiment.task].example(experiment, size)
    draw = torch.Generator().manual_seed(1)
    image = torch.rand(example.image.shape, generator=draw)
    label = (torch.rand(example.label.shape, generator=draw) < FOREGROUND).to(torch.uint8)
    return example._replace(image=image, label=label)


def measure(setting: Setting) -> Measured:
    """WARM_UP steps, the first of which compiles, then `steps` timed ones. Running out of memory is an answer."""
    torch.manual_seed(1)
    experiment, device = experiment_of(setting), devices.choose(setting.device)
    knobs = {
        "precision": setting.precision, "channels_last": setting.channels_last, "compile": setting.compile,
        "activation_checkpointing": setting.recompute,
    }
    profile, _ = resolve_profile(experiment, "benchmark", "", {}, knobs, override_locks=True)
    try:
        return _measured(setting, experiment, Learner(experiment, profile, device, 10_000), device)
    except torch.OutOfMemoryError:
        return Measured(error="out of memory")


def _measured(setting: Setting, experiment: Experiment, learner: Learner, device: torch.device) -> Measured:
    task, active = tasks.TASKS[experiment.task], list[str]()
    learner.ready(lambda dtype, _where: active.append(dtype))
    learner.model.train()
    batch = learner.to_device(batch_of(experiment, BATCH[setting.model]))
    seconds, loss = list[float](), torch.zeros(())
    for step in range(WARM_UP + setting.steps):
        if step == WARM_UP:
            devices.forget_peak(device)  # convolution algorithms are tried, and compiled, with memory of their own
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
    told = devices.memory(device)
    return Measured(
        seconds=statistics.median(seconds[WARM_UP:]), first=seconds[0], loss=loss.item(), parameters=learner.parameters,
        allocated=told.peak_allocated if told else 0, reserved=told.peak_reserved if told else 0,
        active=active[0] if active else "",
    )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def in_a_process(setting: Setting) -> Measured:
    """`measure` in a process of its own; what it died of, if it did."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.gpu_defaults", "--one", msgspec.json.encode(setting).decode()],
            capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS, cwd=ROOT, env={**os.environ},
        )
    except subprocess.TimeoutExpired:
        return Measured(error=f"not done after {PATIENCE_SECONDS:.0f} s")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        return Measured(error=f"exit {done.returncode}: {last[:120]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Measured)


def settings(asked: argparse.Namespace) -> list[Setting]:
    """Every combination that was asked for; only the U-Net can compute its activations again."""
    found = []
    for model, precision, last, compiled in itertools.product(
        asked.models, asked.precision, asked.channels_last, asked.compile
    ):
        for recompute in asked.recompute if model == "residual-unet" else [False]:
            found.append(Setting(
                model=model, precision=precision, channels_last=last, compile=compiled, recompute=recompute,
                device=asked.device, small=asked.small, steps=asked.steps,
            ))
    return found


def table(found: Sequence[tuple[Setting, Measured]]) -> list[str]:
    """A line for each, and for each network the fastest and the one that takes least memory."""
    lines = [f"{'':14} {'':55} ms a step   first, s   allocated   reserved, GiB   computes in   loss"]
    for setting, one in found:
        if one.error:
            lines.append(f"{setting.model:14} {setting.words:55} {one.error}")
            continue
        lines.append(
            f"{setting.model:14} {setting.words:55} {one.seconds * 1e3:9.1f}  {one.first:9.1f}   {_gib(one.allocated):>9} "
            f"{_gib(one.reserved):>15}   {one.active:11}   {one.loss:.4f}"
        )
    for model in dict.fromkeys(setting.model for setting, _ in found):
        done = [(setting, one) for setting, one in found if setting.model == model and not one.error]
        if done:
            quick = min(done, key=lambda each: each[1].seconds)
            lines.append(f"{model}: fastest {quick[0].words} ({quick[1].seconds * 1e3:.1f} ms)")
            if quick[1].reserved:
                least = min(done, key=lambda each: each[1].reserved)
                lines.append(f"{model}: least memory {least[0].words} ({_gib(least[1].reserved)} GiB)")
    return lines


def _gib(count: int) -> str:
    return f"{count / 2**30:.2f}" if count else "–"


def main() -> int:
    asked = arguments()
    if asked.one:
        print(json.dumps(msgspec.to_builtins(measure(msgspec.json.decode(asked.one, type=Setting)))))
        return 0
    if asked.device != "cpu" and not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU"
        print(NO_GPU.format(torch=torch.__version__, built=built), file=sys.stderr)
        return 2
    if asked.device == "cpu" and not asked.small:
        print("On a CPU these networks take minutes a step: add --small, which shows that it runs", file=sys.stderr)
        return 2
    print(f"{devices.name(devices.choose(asked.device))}, torch {torch.__version__}, {asked.steps} steps each", flush=True)
    found = []
    for setting in settings(asked):
        found.append((setting, in_a_process(setting)))
        print(f"  {setting.model}, {setting.words}: {found[-1][1].error or 'done'}", flush=True)
    print("\n".join(table(found)))
    _rig.save(asked.json, [{"setting": msgspec.to_builtins(one), **msgspec.to_builtins(told)} for one, told in found])
    return 1 if all(told.error for _, told in found) else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu_defaults")

    def yes_or_no(text: str) -> bool:
        if text not in ("yes", "no"):
            raise argparse.ArgumentTypeError(f"{text!r}: yes or no")
        return text == "yes"

    parser.add_argument("--device", default="0", help="number of a CUDA device, or cpu with --small")
    parser.add_argument("--small", action="store_true", help="tiny networks and volumes")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--precision", nargs="+", choices=["fp32", "fp16", "bf16"], default=["fp32", "fp16", "bf16"])
    for name in ("channels_last", "compile", "recompute"):
        parser.add_argument(f"--{name.replace('_', '-')}", nargs="+", type=yes_or_no, default=[False, True], metavar="yes|no")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
