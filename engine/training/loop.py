"""The training of one run, from top to bottom: start, steps, what an epoch's end brings, evaluation.

Every host-device synchronisation is marked where it happens; there is none between one step's end and the next.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from itertools import chain

from engine.config.leading import measure
from engine.config.profile import Profile
from engine.journals.events import Begin, EpochEnded, Metrics, Note, PrecisionActive, ProfileChanged, SpanEnded
from engine.journals.journal import Writer, read_ends
from engine.journals.records import ProfileRequest
from engine.machine.cores import machine
from engine.process import boot_id
from engine.training import device as devices, manifest, results, seeds, tasks
from engine.training.checkpoint import Loaded, State, Store
from engine.training.clock import clock_for
from engine.training.evaluate import Scores
from engine.training.handover import Handover
from engine.training.job import Job
from engine.training.learner import Learner
from engine.training.line import Mean
from engine.training.loader import Feed
from engine.training.losses import Parts
from engine.training.outcome import earlier_seconds, run_results
from engine.training.recorder import LINE_SECONDS, LongSpan, Recorder
from engine.training.requests import Requests, changed, frozen, with_knobs
from engine.training.samples import Batch
from engine.training.stop import Stop, StopRequested
from engine.training.tasks import Scoring

RETRY_SECONDS = 60.0
LOOK_SECONDS = 0.05
# After another profile was taken up, so many steps are written down one by one: enough to tell 5 % apart.
MEASURED_STEPS = 200


class Trainer:
    """One attempt at a run. `step` optimizer steps of the run are done; `seen` are this epoch's samples so far."""

    def __init__(self, job: Job, journal: Writer, stop: Stop, began: float, line_seconds: float = LINE_SECONDS) -> None:
        """`began`: the process's start by `time.monotonic`. Whoever makes one closes its `resources`."""
        self.job = job
        self.knobs = job.plan.profile
        self.checkpoints, self.judged = job.plan.experiment.checkpoints, measure(job.plan.experiment)
        self.journal = journal
        self.stop = stop
        self.began, self.started = began, time.time()
        self.line_seconds = line_seconds
        self.requests = Requests(job.run.profile)
        self.store = Store(job.run, job.config_hash, job.attempt, self.checkpoints.keep)
        self.resources = ExitStack()
        self.begun = False
        self.step = 0
        self.seen: list[int] = []
        self.wholes: tuple[int, Scores | None] = 0, None  # of the held-out cases, after so many steps
        self.fresh = True  # batches are loaded, not repeated
        self.searched = False  # for convolution algorithms, in the first step
        self.look_due = 0.0
        self.handover: Handover | None = None
        self.saved_as = ""

    # ------------------------------------------------------------ the order of things

    def run(self) -> None:
        """To the end of the run. Raises StopRequested once the state is saved, or whatever went wrong."""
        saved = self.start()
        try:
            if saved is not None and self.at_epoch_end and not self.closed_before():
                self.close_epoch()  # the checkpoint at an epoch's end is written before the epoch is closed
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
        self.seen = list(saved.state["epoch"]["seen"]) if saved and not self.at_epoch_end else []
        self.device = devices.chosen(job.plan.device)
        self.task = tasks.build(job)
        self.resources.callback(self.close_feed)
        self.open_feed(self.knobs)

        seeds.seed_everything(job.key.seed)
        self.learner = Learner(experiment, self.knobs, self.device, job.steps)
        self.recorder = Recorder(
            self.journal.write, clock_for(self.device), partial(devices.memory, self.device),
            line_seconds=self.line_seconds,
        )
        self.epoch_began = time.monotonic()
        if saved is not None:
            self.restore(saved.state)
        self.save_due = time.monotonic() + self.checkpoints.minutes * 60

        device_name = devices.name(self.device)
        self.journal.write(
            Begin(
                attempt=job.attempt, fold=job.key.fold, restart=job.key.restart, variant=job.key.variant,
                seed=job.key.seed, epochs=experiment.epochs, steps_per_epoch=job.steps_per_epoch,
                batch_size=self.knobs["batch_size"], voxels_per_sample=self.task.size, device=str(self.device),
                device_name=device_name,
                num_workers=self.knobs["num_workers"], parameters=self.learner.parameters,
                config_hash=job.config_hash, resumed_from_step=self.step, resumed_from=self.saved_as, pid=os.getpid(),
                boot_id=boot_id(), cores=machine().cores, knobs=self.knobs.knobs,
            ),
            sync=True,
        )
        self.begun = True
        manifest.write(job, self.device, device_name)
        self.tell_how_it_starts(saved)
        self.learner.ready(self.tell_precision)
        self.journal.write(SpanEnded(name="startup", seconds=time.monotonic() - self.began, step=self.step))
        return saved

    def train_epoch(self) -> None:
        """The rest of the present epoch."""
        epoch, per_epoch = self.epoch, self.job.steps_per_epoch
        if self.step % per_epoch == 0:
            self.open_epoch()
        self.learner.model.train()
        self.recorder.resume()
        with self.recorder.waiting():
            self.batches = self.feed.epoch(epoch, self.seen)
        while self.step < epoch * per_epoch:
            if self.stop.asked or self.recorder.at >= self.look_due:
                self.look()
            self.train_step(self.batches)
        self.recorder.drain()  # host-device sync: the epoch's last steps are waited for
        if self.handover is not None:
            self.hand_over(self.handover)

    def look(self) -> None:
        """Between two steps, at most every LOOK_SECONDS unless due: whether to stop, to save, to go on with another
        profile."""
        self.stop.check()
        if time.monotonic() >= self.save_due and not self.at_epoch_end:
            self.save()
        if self.handover is not None:
            self.hand_over(self.handover)
        elif (request := self.requests.next()) is not None:
            self.take_up(request)
        later = self.recorder.at + (LOOK_SECONDS if self.handover is None else 0.0)
        self.look_due = min(later, self.save_due)

    def train_step(self, batches: Iterator[Batch]) -> None:
        """One optimizer step over `accumulate_steps` batches (fewer at an epoch's end)."""
        learner, task, recorder, lap = self.learner, self.task, self.recorder, self.recorder.lap
        epoch, lr, passes = self.epoch, learner.lr, self.passes()
        total: Parts | None = None
        for _ in range(passes):
            batch = recorder.fetch(batches, self.fresh)
            self.seen += batch.indices
            batch = learner.to_device(batch)  # asynchronous from page-locked memory
            lap("h2d")
            with learner.autocast():
                outputs = task.forward(learner, batch)
            lap("forward")
            with learner.autocast():
                loss = task.losses(learner, outputs, batch, self.step).share(passes)
            lap("loss")
            learner.scaler.scale(loss.total).backward()  # type: ignore[no-untyped-call]
            lap("backward")
            total = loss if total is None else total.plus(loss)
        norm = learner.descend()
        lap("optimizer")
        self.step += 1
        if self.step < self.job.steps:
            learner.schedule.step()
        if not self.searched:
            devices.forget_peak(self.device)  # looking for them takes memory that no later step does
            self.searched = True
        recorder.step_ended(self.step, epoch, lr, total, norm)  # copied without waiting, read when it is there

    def close_epoch(self) -> None:
        """What follows an epoch's last step: the checkpoint first, so that nothing after it can cost the epoch."""
        epoch = self.last_epoch
        if self.step == self.job.steps:
            self.save(must=True, final=True)
        elif self.checkpoints.epochs and epoch % self.checkpoints.epochs == 0:
            self.save()
        if self.due("val_every_epochs", epoch):
            self.tell_scores("val", self.task.validate(self.scoring))
        if self.due("reconstruct_every_epochs", epoch):
            scores = self.task.reconstruct(self.scoring)
            self.tell_scores(self.judged.whole, scores)
            self.wholes = self.step, scores
        self.journal.write(
            EpochEnded(
                epoch=epoch, step=self.step, steps=self.job.steps_per_epoch,
                seconds=time.monotonic() - self.epoch_began, loss=self.recorder.losses.value,
            )
        )

    def evaluate(self) -> None:
        """The held-out fold with the final weights; results.json, and the experiment's results with it. What the last
        epoch's end has scored with these very weights is not scored again."""
        job = self.job
        self.save(must=True, final=True)
        at, scores = self.wholes
        if scores is None or at < self.step or not self.judged.whole_is_test:
            scores = self.task.evaluate(self.scoring)
        test = {name: value for name, value in scores.mean().items() if name in self.task.figures}
        self.journal.write(
            Metrics(split="test", values=test, epoch=job.plan.experiment.epochs, step=self.step), sync=True
        )
        seconds = earlier_seconds(job) + time.monotonic() - self.began
        run_results(job, scores, self.recorder.losses.value, seconds, self.started)
        results.summarise(job.experiment, job.planned, job.prepared)

    @property
    def scoring(self) -> Scoring:
        def span(name: str, total: int) -> AbstractContextManager[LongSpan]:
            return self.recorder.long(name, total, self.last_epoch, self.step)

        return Scoring(self.learner, self.knobs, span, self.stop.check)

    # ------------------------------------------------------------ another profile between two steps

    def take_up(self, request: ProfileRequest) -> None:
        """Go on with the profile that was asked for, as far as a living training can. The next loader starts behind
        what the former one has begun, which is trained on meanwhile: nothing is lost, nothing comes twice."""
        names = changed(self.knobs, request.knobs)
        if not names:
            return
        handover = Handover(request, names, {name: self.knobs[name] for name in names}, self.feed)
        if kept := frozen(names):
            kept_on = "cannot change between two steps; the training goes on as it was"
            self.tell_change(handover, f"{', '.join(kept)} {kept_on}")
            return
        self.knobs = with_knobs(self.knobs, request)
        spawned = self.knobs["multiprocessing_context"] != "fork"
        coming = handover.let_out(self.epoch, int(self.knobs["num_workers"]), spawned)
        self.open_feed(self.knobs, coming)
        self.batches = handover.rest()
        if len(seen := [*self.seen, *coming]) < self.job.draws:
            self.batches = chain(self.batches, self.feed.epoch(self.epoch, seen))
        handover.stood_still(handover.began)
        self.handover = handover

    def hand_over(self, handover: Handover) -> None:
        """Once the former loader has nothing more: the next one's first batch is waited for, and it is told."""
        if not handover.over:
            return
        self.recorder.drain()  # host-device sync: the steps before the change are written down before it
        began = time.monotonic()
        handover.former.close()
        if self.step % self.job.steps_per_epoch or not self.seen:
            self.batches = chain([next(self.batches)], self.batches)
        handover.stood_still(began)
        self.handover = None
        self.tell_change(handover)
        self.recorder.write_every_step(MEASURED_STEPS)
        self.recorder.resume()

    def open_feed(self, knobs: Profile, coming: Sequence[int] = ()) -> None:
        """A loader for the epoch under way, its workers at work behind the draws that another loader has begun."""
        job, seen = self.job, [*self.seen, *coming]
        samples = self.task.training(knobs)
        self.feed = Feed(samples, knobs, job.key.seed, self.device.type, job.draws, self.task.collate)
        if len(seen) < job.draws and self.step < job.steps:
            self.feed.start(self.epoch, seen)
        elif coming and self.epoch < job.plan.experiment.epochs:
            self.feed.start(self.epoch + 1)

    def close_feed(self) -> None:
        if self.handover is not None:
            self.handover.former.close()
        self.feed.close()

    # ------------------------------------------------------------ where in the run

    @property
    def epoch(self) -> int:
        """The epoch of the next step, from 1."""
        return self.step // self.job.steps_per_epoch + 1

    @property
    def last_epoch(self) -> int:
        """The epoch of the last step."""
        return -(-self.step // self.job.steps_per_epoch)

    @property
    def at_epoch_end(self) -> bool:
        return self.step > 0 and self.step % self.job.steps_per_epoch == 0

    def passes(self) -> int:
        """Batches in the next step."""
        left = self.job.draws - len(self.seen)
        return min(int(self.knobs["accumulate_steps"]), -(-left // int(self.knobs["batch_size"])))

    def due(self, knob: str, epoch: int) -> bool:
        """Whether something that happens every so many epochs follows this one."""
        every = int(self.knobs[knob])
        return every > 0 and epoch % every == 0

    def open_epoch(self) -> None:
        self.seen = []
        self.recorder.losses = Mean()
        self.epoch_began = time.monotonic()

    def closed_before(self) -> bool:
        """Whether an earlier attempt has already closed the epoch that the checkpoint ends with."""
        earlier = [segment for segment in self.job.run.segments() if segment != self.journal.path]
        return any(
            isinstance(record, EpochEnded) and record.epoch == self.last_epoch
            for segment in earlier for record in read_ends(segment)[0]
        )

    # ------------------------------------------------------------ saving and going on

    def save(self, must: bool = False, final: bool = False) -> None:
        """A checkpoint, unless this very step's is there. Training goes on without one, except where it `must`: then
        raises OSError. Raises NaNLoss rather than save weights that a bad loss has spoilt."""
        there = self.saved_as == self.job.run.final.name if final else self.store.step == self.step
        if self.step == 0 or there:
            return
        self.recorder.drain()  # host-device sync: the weights are copied to the host anyway
        with self.recorder.long("checkpoint", 1, self.last_epoch, self.step) as progress:
            written = self.store.save(self.state(), self.step, self.last_epoch, final)
            progress.advance(written.file)
        self.journal.write(written, sync=True)
        pause = self.checkpoints.minutes * 60
        self.save_due = time.monotonic() + (min(RETRY_SECONDS, pause) if written.error else pause)
        if written.error and must:
            raise OSError(f"{written.file} could not be written: {written.error}")
        if not written.error:
            self.saved_as = written.file

    def state(self) -> State:
        """Everything a process of its own needs to go on as if nothing had happened."""
        losses = self.recorder.losses
        return {
            **self.learner.state(), "config_hash": self.job.config_hash, "step": self.step, "rng": seeds.rng_state(),
            "epoch": {
                "seen": list(self.seen), "loss_total": losses.total, "loss_count": losses.count,
                "seconds": time.monotonic() - self.epoch_began,
            },
        }

    def restore(self, state: State) -> None:
        self.learner.restore(state)
        epoch = state["epoch"]
        self.recorder.losses = Mean(epoch["loss_total"], epoch["loss_count"])
        self.epoch_began = time.monotonic() - epoch["seconds"]
        seeds.restore_rng(state["rng"])

    # ------------------------------------------------------------ telling

    def tell_scores(self, split: str, scores: Scores) -> None:
        self.journal.write(Metrics(split=split, values=scores.mean(), epoch=self.last_epoch, step=self.step))

    def tell_change(self, handover: Handover, error: str = "") -> None:
        request = handover.request
        self.journal.write(
            ProfileChanged(
                id=request.id, name=request.name, knobs=self.knobs.knobs, changed=handover.names, former=handover.held,
                step=self.step, epoch=self.epoch, seconds=handover.seconds, error=error,
            ),
            sync=True,
        )

    def tell_precision(self, active: str, evidence: str) -> None:
        self.journal.write(PrecisionActive(requested=self.knobs["precision"], active=active, evidence=evidence))

    def tell_how_it_starts(self, saved: Loaded | None) -> None:
        for reason in saved.passed_over if saved else ():
            self.journal.write(Note(text=f"checkpoint passed over: {reason}", level="warn"))
        if saved is not None and saved.passed_over:
            self.journal.write(Note(text=f"going on from {saved.file}, the newest whole one", level="warn"))
        if saved is None and self.job.attempt > 1:
            self.journal.write(Note(text="no checkpoint had been written yet: from the beginning", level="warn"))
        if self.device.type == "mps":
            self.journal.write(Note(text="on MPS the spans within a step are the host's time, not the device's"))
