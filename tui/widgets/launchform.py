"""The fields of the launch dialog: which there are for the chosen experiment and task, and what is typed in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget
from textual.widgets import Input, Label, Select, Static

from engine.config.catalog import Entry
from tui.launching import FIELDS, ORDERS, Preset, Task
from tui.plain import plain

# Of a training alone: a test of profiles measures one training at a time.
TRAINING = ("slots", "order", "retries")


class LaunchForm(VerticalScroll):
    """A line for each field. What does not apply is not shown, and says nothing."""

    def __init__(
        self,
        preset: Preset,
        experiments: Mapping[str, Entry],
        profiles: Mapping[str, Entry],
        tasks: Sequence[Task],
        first: str,
    ) -> None:
        """`first`: the experiment that is chosen to begin with, '' where there is none."""
        super().__init__(classes="dialog-body")
        self._preset = preset
        self._experiments = experiments
        self._profiles = profiles
        self._tasks = tasks
        self._first = first

    def compose(self) -> ComposeResult:
        preset, first = self._preset, self._first
        yield self._field(
            "experiment",
            Select(
                [(plain(e.name), e.name) for e in self._experiments.values()],
                value=first or Select.NULL,
                allow_blank=not first,
                id="experiment",
                compact=True,
            ),
        )
        yield Static(id="title", markup=False)
        yield self._field(
            "do",
            Select(
                [(plain(task.title), task.title) for task in self._tasks],
                value=preset.task,
                allow_blank=False,
                id="task",
                compact=True,
            ),
        )
        yield self._field(
            "profile",
            Select(
                [(plain(f"{e.name}  {e.title}"), e.name) for e in self._profiles.values()],
                prompt="as the experiment says",
                value=preset.profile if preset.profile in self._profiles else Select.NULL,
                id="profile",
                compact=True,
            ),
        )
        yield self._field("knobs", Static(id="settings", markup=False))
        for field in FIELDS:
            value = {"data": preset.data, "device": preset.device, **preset.fields}.get(field.name, "")
            box = Input(value=value, placeholder=field.hint, id=field.name, compact=True)
            yield self._field(field.label, box, f"row-{field.name}")
            if field.name == "slots":
                orders = Select(
                    [(plain(words), str(name)) for name, words in ORDERS.items()],
                    value=preset.fields.get("order", "folds"),
                    allow_blank=False,
                    id="order",
                    compact=True,
                )
                yield self._field("order", orders, "row-order")

    def _field(self, label: str, field: Widget, id: str | None = None) -> Horizontal:
        return Horizontal(Label(label, markup=False), field, classes="field", id=id)

    def fit(self, variants: Sequence[str], training: bool) -> None:
        """Show the fields of an experiment with these variants, and of a training or of a test."""
        self.query_one("#row-variants").display = bool(variants)
        self.query_one("#variants", Input).placeholder = f"all; or some of {', '.join(variants)}"
        self.query_one("#row-steps").display = not training
        for name in TRAINING:
            self.query_one(f"#row-{name}").display = training

    def value(self, name: str) -> str:
        """What is typed or chosen; '' for nothing, and for a field that is not shown."""
        field = self.query_one(f"#{name}")
        if field.parent is not None and isinstance(field.parent, Widget) and not field.parent.display:
            return ""
        if isinstance(field, Input):
            return field.value.strip()
        assert isinstance(field, Select)
        return "" if field.value is Select.NULL else str(field.value)

    def values(self) -> dict[str, str]:
        names = ("experiment", "task", "profile", "order", *(field.name for field in FIELDS))
        return {name: self.value(name) for name in names}
