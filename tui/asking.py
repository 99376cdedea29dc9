"""The part of the application that asks what if: its screen, and launches from there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.profiling import Profiling, device_words, settings_for

if TYPE_CHECKING:
    from engine.whatif.estimate import Subject
    from engine.whatif.hardware import Gpu
    from engine.whatif.known import Known
    from tui.screens.what_if import WhatIfScreen


class Asking(Profiling):
    """What is added: the what-if of the experiment that is looked at."""

    def action_what_if(self) -> None:
        from engine.whatif import estimate
        from tui.screens.what_if import WhatIfScreen

        if self.view is None or isinstance(self.screen, WhatIfScreen):
            return
        situation = self.situation
        barred = "this is a recording" if situation.recording else "--readonly" if situation.readonly else ""

        others: list[tuple[Known, ...]] = []

        def load(sheet: tuple[Gpu, ...]) -> Subject:
            """What is known now; the other experiments are read once."""
            assert self.view is not None
            found = estimate.of_state(self.view.state, self.logs, sheet, others[0] if others else None)
            others[:] = [found.others]
            return found

        self.push_screen(WhatIfScreen(load, barred=barred, again=True))

    def on_what_if_screen_launch(self, message: WhatIfScreen.Launch) -> None:
        from engine.config.run_keys import runs_of, variants_of
        from engine.whatif.bring_about import devices_for
        from tui.launching import Preset
        from tui.screens.launch import LaunchScreen

        known, option, question = message.subject.known, message.option, message.board.question
        plan = known.plan
        settings = settings_for(plan, known.knobs | question.knobs)
        if question.steps_per_epoch is not None:
            settings = settings | {"steps_per_epoch": question.steps_per_epoch}
        every = option.folds == tuple(range(plan.experiment.runs.folds))
        fields = {
            "folds": "" if every else ",".join(str(fold) for fold in option.folds),
            "restarts": "" if option.restarts == plan.experiment.runs.restarts else str(option.restarts),
            "epochs": str(question.epochs or plan.experiment.epochs),
            "slots": "" if plan.slots == 1 or question.gpus > 1 else str(plan.slots),
            "variants": "" if option.variants == variants_of(runs_of(plan.experiment)) else ",".join(option.variants),
        }
        devices = ",".join(devices_for(plan, question, option.runs)) or device_words(plan)
        preset = Preset(plan.experiment_name, data=plan.data_dir, device=devices, settings=settings, fields=fields)
        self.push_screen(LaunchScreen(self.logs, preset), self.launched)
