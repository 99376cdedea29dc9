"""The dashboard of one experiment."""

from __future__ import annotations

from typing import ClassVar, Literal

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.geometry import Region
from textual.reactive import reactive

from tui.actions import BY_ACTION, DASHBOARD_ACTIONS, Situation
from tui.messages import View
from tui.recording import Recording
from tui.screens.covering import Panelled
from tui.widgets.banner import Banner
from tui.widgets.events import EventsPanel
from tui.widgets.finish import FinishPanel
from tui.widgets.header import Header
from tui.widgets.keybar import KeyBar
from tui.widgets.machine import MachinePanel
from tui.widgets.panel import Panel
from tui.widgets.phaselist import PhasesPanel
from tui.widgets.plots import FigurePlot, LossPlot, Plot, curve_names
from tui.widgets.progress import ProgressPanel
from tui.widgets.runs import RunsPanel
from tui.widgets.sidebyside import SideBySide
from tui.widgets.small import HEIGHT, WIDTH, Small
from tui.widgets.steptime import StepTimePlot
from tui.widgets.where import WherePanel


class Dashboard(Panelled[None]):
    """Panels over one view; the layout follows the terminal's size."""

    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (WIDTH, "-narrow"), (100, "-normal"), (160, "-wide")]
    VERTICAL_BREAKPOINTS = [
        (0, "-flat"), (HEIGHT, "-low"), (22, "-short"), (32, "-medium"), (38, "-high"), (50, "-tall"),
    ]
    ALLOW_IN_MAXIMIZED_VIEW = "Header, Banner, SideBySide, KeyBar"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(BY_ACTION[name].key, name, BY_ACTION[name].title, show=False) for name in DASHBOARD_ACTIONS),
        *(Binding(str(number), f"focus_panel({number})", f"panel {number}", show=False) for number in range(1, 10)),
        *(
            Binding(keys, f"move_focus({dx}, {dy})", "next panel", show=False)
            for keys, dx, dy in (("h,left", -1, 0), ("right", 1, 0), ("k,up", 0, -1), ("j,down", 0, 1))
        ),
    ]

    view: reactive[View | None] = reactive(None, repaint=False, init=False, always_update=True)
    problem: reactive[str] = reactive("", repaint=False, init=False)
    situation: reactive[Situation] = reactive(Situation(), repaint=False, init=False)

    def __init__(self, readonly: bool = False, calm: bool = False, recording: Recording | None = None) -> None:
        super().__init__()
        self._recording = recording
        self._readonly = readonly
        self._calm = calm

    def compose(self) -> ComposeResult:
        marks = "read-only" if self._readonly and self._recording is None else ""
        yield Header(marks, not self._calm, self._recording).data_bind(Dashboard.view)
        yield Banner(self._readonly).data_bind(Dashboard.view, Dashboard.problem)
        yield SideBySide().data_bind(Dashboard.view)
        with Vertical(id="body"):
            with Horizontal(id="top", classes="row"):
                yield ProgressPanel(calm=self._calm, id="progress").data_bind(Dashboard.view)
                yield FinishPanel(readonly=self._readonly, id="finish").data_bind(Dashboard.view)
            with Horizontal(id="middle", classes="row"):
                yield WherePanel(id="where").data_bind(Dashboard.view)
                yield MachinePanel(id="machine").data_bind(Dashboard.view)
            with Horizontal(id="plots", classes="row"):
                yield StepTimePlot(id="step-time").data_bind(Dashboard.view)
                yield LossPlot(id="loss").data_bind(Dashboard.view)
                yield FigurePlot(id="dice").data_bind(Dashboard.view)
                yield RunsPanel(id="runs").data_bind(Dashboard.view)
                yield PhasesPanel(id="phases").data_bind(Dashboard.view)
            yield EventsPanel(id="events").data_bind(Dashboard.view)
        yield Small(id="small").data_bind(Dashboard.view)
        yield KeyBar().data_bind(Dashboard.situation)

    def watch_view(self, view: View | None) -> None:
        if view is not None:
            self.set_class(view.state.plan.test is not None, "-test")
        self._situate(view)

    def _situate(self, view: View | None) -> None:
        panel: Literal["", "focused", "enlarged"] = (
            "enlarged" if self.maximized is not None else "focused" if isinstance(self.focused, Panel) else ""
        )
        self.situation = Situation(view, self._readonly, recording=self._recording is not None, panel=panel)

    def watch_maximized(self) -> None:
        self._situate(self.view)

    def watch_focused(self) -> None:
        self._situate(self.view)

    def on_resize(self) -> None:
        # Its own size may be what it was.
        self.query_one(Banner).fit()
        self.query_one(SideBySide).fit()

    @property
    def panels(self) -> list[Panel]:
        """Panels that are on the screen."""
        return [panel for panel in self.query(Panel) if panel.display and panel.region.area]

    def action_focus_panel(self, number: int) -> None:
        for panel in self.query(Panel):
            if number == panel.NUMBER and panel.display:
                if self.maximized is not None:
                    self.minimize()
                panel.focus(scroll_visible=False)

    def action_move_focus(self, dx: int, dy: int) -> None:
        """To the nearest panel in that direction."""
        here = self.focused
        panels = self.panels
        if not isinstance(here, Panel) or here not in panels:
            if panels:
                panels[0].focus(scroll_visible=False)
            return
        found = [p for p in panels if p is not here and _ahead(here.region, p.region, dx, dy)]
        if found:
            min(found, key=lambda p: _distance(here.region, p.region, dx)).focus(scroll_visible=False)

    def action_log_scale(self) -> None:
        plots = list(self.query(Plot))
        logarithmic = not all(plot.logarithmic for plot in plots)
        for plot in plots:
            plot.logarithmic = logarithmic

    def action_next_curve(self) -> None:
        run = self.view.state.run if self.view is not None else None
        if len(curve_names(run)) > 1:
            self.query_one(LossPlot).action_next_curve()
        else:
            self.notify("no other curve yet: figures of validation come here", markup=False, timeout=4)

    def action_enlarge_focused(self) -> None:
        panel = self.focused if isinstance(self.focused, Panel) else None
        if panel is not None:
            panel.action_enlarge()
        elif self.panels:
            self.panels[0].focus(scroll_visible=False)

    def on_click(self, event: events.Click) -> None:
        if event.chain == 2 and isinstance(event.widget, Panel):
            event.widget.action_enlarge()


def _ahead(here: Region, there: Region, dx: int, dy: int) -> bool:
    if dx:
        return there.x >= here.right if dx > 0 else there.right <= here.x
    return there.y >= here.bottom if dy > 0 else there.bottom <= here.y


def _distance(here: Region, there: Region, dx: int) -> tuple[int, int]:
    """Along the direction first, then how far aside."""
    along = abs(there.center[0] - here.center[0]) if dx else abs(there.center[1] - here.center[1])
    aside = abs(there.y - here.y) if dx else abs(there.x - here.x)
    return (aside, int(along)) if dx else (int(along), aside)
