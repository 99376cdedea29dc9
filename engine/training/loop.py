"""The training of one run, from top to bottom: start, steps, what an epoch's end brings, evaluation.

Every host-device synchronisation is marked where it happens; there is none between one step's end and the next.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from engine.events import Begin, EpochEnded, Metrics, Note, PrecisionActive, SpanEnded
from engine.journal import Writer, read_ends
from engine.process import boot_id
from engine.training import device as devices
from engine.training import losses, manifest, models, optim, precision, results, seeds
from engine.training.checkpoint import Loaded, State, Store
from engine.training.clock import clock_for
from engine.training.evaluate import Scores, evaluate, validation_indices
from engine.training.job import Job
from engine.training.loader import Batch, Feed, Volumes
from engine.training.outcome import earlier_seconds, run_results
from engine.training.recorder import LINE_SECONDS, Mean, Recorder
from engine.training.stop import Stop, StopRequested

RETRY_SECONDS = 60.0


class Trainer:
    """One attempt at a run. `step` optimizer steps of the run are done; `seen` are this epoch's samples so far."""

    def __init__(self, job: Job, journal: Writer, stop: Stop, began: float, line_seconds: float = LINE_SECONDS) -> None:
        """`began`: the process's start by `time.monotonic`."""
        self.job = job
        self.knobs = job.plan.profile
        self.journal = journal
        self.stop = stop
        self.began = began
        self.line_seconds = line_seconds
        self.started = time.time()
        self.step = 0
        self.seen: list[int] = []
        self.store = Store(job.run, job.config_hash, job.attempt, job.plan.experiment.checkpoints.keep)
        self.begun = False
        self.saved_as = ""

    # ------------------------------------------------------------ the order of things

    def run(self) -> None:
        """To the end of the run. Raises StopRequested once the state is saved, or whatever went wrong."""
        saved = self.start()
        try:
            if saved is not None and self.at_epoch_end and not self.closed_before():
                self.close_epoch()
            while self.step < self.job.steps:
                self.train_epoch()
                self.close_epoch()
            self.evaluate()
        except StopRequested:
            self.save(must=True)
            raise

    def start(self) -> Loaded | None:
        """Everything up to the first step. Loader processes fork before CUDA is initialised in this one."""
        job, experiment = self.job, self.job.plan.experiment
        saved = self.store.load()
        self.step, self.saved_as = (saved.step, saved.file) if saved else (0, "")
        self.seen = list(saved.state["epoch"]["seen"]) if saved else []
        self.device = devices.chosen(job.plan.device)
        self.feed = Feed(Volumes(job.training, job.key.seed), self.knobs, job.key.seed, self.device.type)
        self.held_out = Volumes(job.held_out)
        if self.step < job.steps and not (saved and self.at_epoch_end):
            self.feed.start(self.epoch, self.seen)

        seeds.seed_everything(job.key.seed)
        self.memory_format = torch.channels_last_3d if self.knobs["channels_last"] else torch.contiguous_format
        self.model = models.build(experiment.model).to(self.device, memory_format=self.memory_format)
        self.loss = losses.build(experiment.loss).to(self.device)
        self.optimizer = optim.optimizer(experiment.optimizer, self.model, self.device)
        self.schedule = optim.schedule(experiment.schedule, experiment.optimizer.lr, self.optimizer, job.steps)
        self.dtype = precision.autocast_dtype(self.knobs["precision"], self.device)
        self.scaler = precision.scaler(self.device, self.dtype)
        torch.backends.cudnn.benchmark = True
        self.recorder = Recorder(
            self.journal.write, clock_for(self.device), partial(devices.memory, self.device),
            line_seconds=self.line_seconds,
        )
        self.epoch_began = time.monotonic()
        if saved is not None:
            self.restore(saved.state)
        self.save_due = time.monotonic() + experiment.checkpoints.minutes * 60

        device_name = devices.name(self.device)
        self.journal.write(
            Begin(
                attempt=job.attempt, fold=job.key.fold, restart=job.key.restart, seed=job.key.seed,
                epochs=experiment.epochs, steps_per_epoch=job.steps_per_epoch, batch_size=self.knobs["batch_size"],
                voxels_per_sample=self.held_out.voxels, device=str(self.device), device_name=device_name,
                num_workers=self.knobs["num_workers"], parameters=models.parameters(self.model),
                config_hash=job.config_hash, resumed_from_step=self.step, resumed_from=saved.file if saved else "",
                pid=os.getpid(), boot_id=boot_id(),
            ),
            sync=True,
        )
        self.begun = True
        manifest.write(job, self.device, device_name)
        self.tell_how_it_starts(saved)
        self.forward = self.watched_model()
        self.journal.write(SpanEnded(name="startup", seconds=time.monotonic() - self.began, step=self.step))
        return saved

    def train_epoch(self) -> None:
        """The rest of the present epoch. A stop is looked for after every step."""
        epoch, per_epoch = self.epoch, self.job.steps_per_epoch
        self.model.train()
        self.recorder.resume()
        with self.recorder.span("data"):
            batches = self.feed.epoch(epoch, self.seen)
        while self.step < epoch * per_epoch:
            self.stop.check()
            lr = self.schedule.get_last_lr()[0]
            self.train_step(batches)
            self.step += 1
            self.recorder.step_ended(self.step, epoch, float(lr))
            if time.monotonic() >= self.save_due and self.step < epoch * per_epoch:
                self.save()
        self.recorder.drain()  # host-device sync: the epoch's last steps are waited for

    def train_step(self, batches: Iterator[Batch]) -> None:
        """One optimizer step over `accumulate_steps` batches (fewer at an epoch's end)."""
        recorder = self.recorder
        passes = self.passes()
        total: Tensor | None = None
        for _ in range(passes):
            with recorder.span("data"):
                batch = next(batches)
            recorder.loaded(len(batch.indices), batch.load_seconds)
            self.seen += batch.indices
            with recorder.span("h2d"):
                # Asynchronous from page-locked memory (knob pin_memory); labels travel as bytes and widen there.
                image = batch.image.to(self.device, non_blocking=True, memory_format=self.memory_format)
                label = batch.label.to(self.device, non_blocking=True).long()
            with recorder.span("forward"), precision.autocast(self.device, self.dtype):
                logits = self.forward(image)
            with recorder.span("loss"), precision.autocast(self.device, self.dtype):
                loss: Tensor = self.loss(logits, label) / passes
            with recorder.span("backward"):
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total = loss.detach() if total is None else total + loss.detach()
        assert total is not None
        recorder.loss(total)  # read when the device has passed it
        with recorder.span("optimizer"):
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad()
        if self.step + 1 < self.job.steps:
            self.schedule.step()

    def close_epoch(self) -> None:
        """What comes after an epoch's last step: the checkpoint first, so that nothing after it can cost the epoch."""
        epoch, experiment = self.ended_epoch, self.job.plan.experiment
        if self.step == self.job.steps:
            self.save(must=True, final=True)
        elif experiment.checkpoints.epochs and epoch % experiment.checkpoints.epochs == 0:
            self.save()
        every = self.knobs["val_every_epochs"]
        if every and epoch % every == 0:
            scores = self.score("validate", validation_indices(len(self.held_out)))
            self.journal.write(Metrics(split="val", values=scores.mean(), epoch=epoch, step=self.step))
        self.journal.write(
            EpochEnded(
                epoch=epoch, step=self.step, steps=self.job.steps_per_epoch, seconds=time.monotonic() - self.epoch_began,
                loss=self.recorder.losses.value,
            )
        )
        if self.step < self.job.steps:
            self.open_epoch()

    def evaluate(self) -> None:
        """The held-out fold with the final weights; results.json, and the experiment's results with it."""
        job = self.job
        if job.run.final.name != self.saved_as:
            self.save(must=True, final=True)
        scores = self.score("evaluate", range(len(self.held_out)))
        means = scores.mean()
        self.journal.write(
            Metrics(
                split="test", values={name: value for name, value in means.items() if name in results.FIGURES},
                epoch=job.plan.experiment.epochs, step=self.step,
            ),
            sync=True,
        )
        seconds = earlier_seconds(job) + time.monotonic() - self.began
        run_results(job, scores, self.recorder.losses.value, seconds, self.started)
        results.summarise(job.experiment, job.plan, job.prepared)

    # ------------------------------------------------------------ where in the run

    @property
    def epoch(self) -> int:
        """The epoch of the next step, from 1."""
        return self.step // self.job.steps_per_epoch + 1

    @property
    def ended_epoch(self) -> int:
        return self.step // self.job.steps_per_epoch

    @property
    def at_epoch_end(self) -> bool:
        return self.step > 0 and self.step % self.job.steps_per_epoch == 0

    def passes(self) -> int:
        """Batches in the next step."""
        left = len(self.job.split.train) - len(self.seen)
        return min(int(self.knobs["accumulate_steps"]), -(-left // int(self.knobs["batch_size"])))

    def open_epoch(self) -> None:
        self.seen = []
        self.recorder.losses = Mean()
        self.epoch_began = time.monotonic()

    def closed_before(self) -> bool:
        """Whether an earlier attempt has already closed the epoch that the checkpoint ends with; if so, go past it."""
        for segment in self.job.run.segments():
            if segment != self.journal.path and any(
                isinstance(record, EpochEnded) and record.epoch == self.ended_epoch for record in read_ends(segment)[0]
            ):
                if self.step < self.job.steps:
                    self.open_epoch()
                return True
        return False

    # ------------------------------------------------------------ saving and going on

    def save(self, must: bool = False, final: bool = False) -> None:
        """A checkpoint, unless this very step's is there. Training goes on without one, except where it `must`: then
        raises the OSError. Raises NaNLoss rather than save weights that a bad loss has spoilt."""
        if self.step == 0 or (self.store.step == self.step and not final):
            return
        self.recorder.drain()  # host-device sync: the weights are copied to the host anyway
        minutes = self.job.plan.experiment.checkpoints.minutes
        with self.recorder.long("checkpoint", 1, self.ended_epoch, self.step) as progress:
            written = self.store.save(self.state(), self.step, -(-self.step // self.job.steps_per_epoch), final)
            progress.advance(written.file)
        self.journal.write(written, sync=True)
        self.save_due = time.monotonic() + (min(RETRY_SECONDS, minutes * 60) if written.error else minutes * 60)
        if written.error and must:
            raise OSError(f"{written.file} could not be written: {written.error}")
        if not written.error:
            self.saved_as = written.file

    def state(self) -> State:
        """Everything a process of its own needs to go on as if nothing had happened."""
        return {
            "config_hash": self.job.config_hash, "step": self.step, "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(), "rng": seeds.rng_state(),
            "epoch": {
                "seen": list(self.seen), "loss_total": self.recorder.losses.total,
                "loss_count": self.recorder.losses.count, "seconds": time.monotonic() - self.epoch_began,
            },
        }

    def restore(self, state: State) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        epoch = state["epoch"]
        self.recorder.losses = Mean(epoch["loss_total"], epoch["loss_count"])
        self.epoch_began = time.monotonic() - epoch["seconds"]
        seeds.restore_rng(state["rng"])

    # ------------------------------------------------------------ looking at the held-out fold, and telling

    def score(self, name: str, indices: range | list[int]) -> Scores:
        with self.recorder.long(name, len(indices), self.ended_epoch, self.step) as progress:
            return evaluate(
                self.model, self.loss, self.held_out, indices, self.device, self.memory_format, progress,
                self.stop.check,
            )

    def watched_model(self) -> nn.Module:
        """The model to call in a step, compiled if asked for; the first forward pass tells what it computed in."""

        def report(active: str, where: str) -> None:
            tf32 = self.device.type == "cuda" and active == "float32" and torch.backends.cudnn.allow_tf32
            self.journal.write(
                PrecisionActive(
                    requested=self.knobs["precision"], active=active,
                    evidence=where + ("; TF32 allowed in convolutions" if tf32 else ""),
                )
            )

        if not self.knobs["compile"]:
            precision.observe(self.model, report)
            return self.model
        image = torch.zeros(1, 1, 16, 16, 16, device=self.device)
        precision.observe_apart(self.model, image, self.dtype, report)
        return torch.compile(self.model)  # type: ignore[return-value]

    def tell_how_it_starts(self, saved: Loaded | None) -> None:
        for reason in saved.passed_over if saved else ():
            self.journal.write(Note(text=f"checkpoint passed over: {reason}", level="warn"))
        if saved is not None and saved.passed_over:
            self.journal.write(Note(text=f"going on from {saved.file}, the newest whole one", level="warn"))
        if saved is None and self.job.attempt > 1:
            self.journal.write(Note(text="no checkpoint had been written yet: from the beginning", level="warn"))
        if self.device.type == "mps":
            self.journal.write(Note(text="on MPS the spans within a step are the host's time, not the device's"))

    def close(self) -> None:
        """End the loader's processes."""
        if hasattr(self, "feed"):
            self.feed.close()
