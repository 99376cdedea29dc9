"""Things a TOML file names: a dict that fills by decorator and explains a miss."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from engine.errors import unknown

if TYPE_CHECKING:
    from torch import nn

    from engine.config.tables import Loss, Model, Term
    from engine.training.augment import Transform
    from engine.training.tasks.task import Task

T = TypeVar("T")


class Registry(Generic[T]):
    """Name -> what was registered under it. `registry[name]` raises UsageError with the nearest right name."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator. Raises ValueError if the name is taken."""

        def add(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"two {self.kind}s are called {name!r}")
            self._entries[name] = entry
            return entry

        return add

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            raise unknown(self.kind, name, self._entries, f"[{self.kind}]")
        return self._entries[name]

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._entries))


MODELS: Registry[Callable[[Model], nn.Module]] = Registry("model")
LOSSES: Registry[Callable[[Loss], nn.Module]] = Registry("loss")
LOSS_TERMS: Registry[Callable[[Loss, Term], nn.Module]] = Registry("loss.terms")
AUGMENTS: Registry[Callable[[dict[str, float]], Transform]] = Registry("augment")
TASKS: Registry[type[Task]] = Registry("task")
