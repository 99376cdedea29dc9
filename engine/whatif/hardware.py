"""The GPU sheet: what is quoted of each GPU, from whom and when, and the user's own rows and prices over it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from engine.config.sheet import Row, rows
from engine.counts import plural
from engine.errors import UsageError, unknown

SHIPPED = Path(__file__).with_suffix(".toml")
OWN = Path("hardware.toml")

Kind: TypeAlias = Literal["tensor cores", "no tensor cores", "mps"]

# Generation -> what it computes with.
GENERATIONS: dict[str, Kind] = {
    "pascal": "no tensor cores",
    "volta": "tensor cores",
    "turing": "tensor cores",
    "ampere": "tensor cores",
    "ada": "tensor cores",
    "hopper": "tensor cores",
    "blackwell": "tensor cores",
    "apple": "mps",
}
NO_BF16 = ("pascal", "volta", "turing")

NUMBERS = ("vram_gb", "bandwidth_gb_s", "fp32_tflops", "tf32_tflops", "tensor_tflops", "watts")
TEXTS = ("name", "generation", "source", "as_of")
LISTS = ("aliases", "unconfirmed")
REQUIRED = ("name", "generation", "bandwidth_gb_s", "fp32_tflops", "source", "as_of")
PRICE_FIELDS = ("low", "high", "currency", "as_of", "source")
CURRENCY = re.compile(r"^[A-Z]{3}$")
DATE = re.compile(r"^\d{4}-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?$")


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """Of one GPU for one hour. `currency`: ISO 4217. `as_of`: when it was asked, YYYY-MM or YYYY-MM-DD."""

    low: float
    high: float
    currency: str
    as_of: str
    source: str


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """Peak figures, TFLOP/s dense; `tensor_tflops` is FP16 with FP32 accumulate. None: it has none, or it is not known.

    `unconfirmed`: names of fields that no source was found for. `own`: the row, or part of it, is the user's.
    """

    name: str
    aliases: tuple[str, ...] = ()
    generation: str
    vram_gb: float | None = None
    bandwidth_gb_s: float
    fp32_tflops: float
    tf32_tflops: float | None = None
    tensor_tflops: float | None = None
    watts: float | None = None
    price: Price | None = None
    source: str
    as_of: str
    unconfirmed: tuple[str, ...] = ()
    own: bool = False

    @property
    def kind(self) -> Kind:
        return GENERATIONS[self.generation]

    @property
    def bf16(self) -> bool:
        """Whether its tensor cores compute in bfloat16."""
        return self.kind == "tensor cores" and self.generation not in NO_BF16


def gpus(extra: Path | None = None) -> tuple[Gpu, ...]:
    """The shipped sheet with `extra` (default ./hardware.toml, if there is one) over it.

    Raises UsageError naming file, line and remedy.
    """
    found = dict(_shipped())
    own = extra if extra is not None else OWN
    if extra is not None or own.is_file():
        for row in rows(own, "gpu", ("session",)):
            name = row.text("name")
            before = next((gpu for gpu in found.values() if _same(name, gpu.name)), None)
            gpu = _gpu(row, before)
            found[gpu.name] = msgspec.structs.replace(gpu, own=True)
    _check_names(found.values(), own)
    return tuple(found.values())


def find(name: str, sheet: tuple[Gpu, ...] | None = None) -> Gpu | None:
    """The GPU called so: its name, an alias, or NVML's device name. None for one that is not in the sheet.

    A MIG slice is none of them: it is a part of a GPU.
    """
    wanted = _plain(name)
    for gpu in sheet if sheet is not None else gpus():
        if wanted in (_plain(gpu.name), *map(_plain, gpu.aliases)):
            return gpu
    return None


def named(name: str, sheet: tuple[Gpu, ...] | None = None) -> Gpu:
    """As `find`; raises UsageError with the nearest name, and how to add one."""
    known = sheet if sheet is not None else gpus()
    gpu = find(name, known)
    if gpu is None:
        several = meant(name, known)
        if len(several) > 1:
            raise UsageError(f"{name!r} fits {plural(len(several), 'GPU')}: {_listed(several)}; name one of them")
        error = unknown("GPU", name, [one.name for one in known])
        raise UsageError(f"{error}. Another one is a [[gpu]] row in ./hardware.toml")
    return gpu


def meant(name: str, sheet: tuple[Gpu, ...] | None = None) -> tuple[Gpu, ...]:
    """Every GPU that a name may be short for: `V100` is five of them, a row's own name or its driver's is that one
    alone. Empty for one that is not in the sheet."""
    known = sheet if sheet is not None else gpus()
    one = find(name, known)
    words = _words(name)
    if one is not None and _plain(name) == _plain(one.name):
        return (one,)
    found = tuple(gpu for gpu in known if words and _words(gpu.name)[: len(words)] == words)
    return found if one is None or one in found else (one,)


def exactly(name: str, option: str, sheet: tuple[Gpu, ...] | None = None) -> Gpu:
    """As `named`, where taking one of several for another would give a wrong figure; raises UsageError naming the rows
    that `name` fits."""
    found = meant(name, sheet)
    if len(found) > 1:
        raise UsageError(f"{option} {name!r} fits {plural(len(found), 'GPU')}: {_listed(found)}; name one of them")
    return found[0] if found else named(name, sheet)


def taken_as(name: str, gpu: Gpu, sheet: tuple[Gpu, ...] | None = None) -> str:
    """Which of several GPUs a short name was taken for; '' where it means only one."""
    others = [one for one in meant(name, sheet) if one.name != gpu.name]
    return f"{name} is taken as {gpu.name}; there are {_listed(others)} too" if others else ""


def _listed(found: Sequence[Gpu]) -> str:
    names = [gpu.name for gpu in found]
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def _words(name: str) -> list[str]:
    return re.split(r"[\s_-]+", name.casefold().strip().removeprefix("nvidia ").strip())


@cache
def _shipped() -> dict[str, Gpu]:
    return {gpu.name: gpu for gpu in (_gpu(row, None) for row in rows(SHIPPED, "gpu"))}


def _plain(name: str) -> str:
    """`NVIDIA A100-SXM4-80GB` and `a100 sxm4 80gb` are one name."""
    return re.sub(r"[\s_-]+", "", name.casefold().removeprefix("nvidia"))


def _same(one: str, other: str) -> bool:
    return _plain(one) == _plain(other)


def _gpu(row: Row, before: Gpu | None) -> Gpu:
    row.only((*TEXTS, *NUMBERS, *LISTS, "price"))
    if before is None:
        row.needs(REQUIRED)
    values: dict[str, Any] = {} if before is None else msgspec.structs.asdict(before)
    values |= {name: row.positive(name) for name in NUMBERS if name in row.values}
    values |= {name: row.text(name) for name in TEXTS if name in row.values and (before is None or name != "name")}
    values |= {name: row.texts(name) for name in LISTS if name in row.values}
    if values["generation"] not in GENERATIONS:
        raise unknown("generation", values["generation"], GENERATIONS, row.where("generation"))
    for name in values.get("unconfirmed", ()):
        if name not in NUMBERS:
            raise unknown("field", name, NUMBERS, row.where("unconfirmed"))
    _date(row, values["as_of"])
    if "price" in row.values:
        values["price"] = _price(row)
    gpu = Gpu(**values)
    if (gpu.tensor_tflops is None) == (gpu.kind == "tensor cores"):
        raise UsageError(
            f"{row.where('generation')}: {gpu.generation} has {gpu.kind}, so tensor_tflops "
            + ("is needed" if gpu.tensor_tflops is None else "is left out")
        )
    return gpu


def _price(row: Row) -> Price:
    inner = row.table("price", PRICE_FIELDS)
    inner.needs(PRICE_FIELDS)
    currency = inner.text("currency")
    if not CURRENCY.match(currency):
        raise UsageError(f'{inner.where("currency")}: currency is three capital letters, such as "USD" or "EUR"')
    low, high = inner.positive("low"), inner.positive("high")
    if low > high:
        raise UsageError(f"{inner.where('low')}: the price's low of {low:g} is more than its high of {high:g}")
    _date(inner, inner.text("as_of"))
    return Price(low=low, high=high, currency=currency, as_of=inner.text("as_of"), source=inner.text("source"))


def _date(row: Row, said: str) -> None:
    wrong = not DATE.match(said)
    if not wrong:
        try:
            date.fromisoformat(said if len(said) > len("2026-11") else f"{said}-01")
        except ValueError:
            wrong = True
    if wrong:
        raise UsageError(f'{row.where("as_of")}: as_of = {said!r} is no date: "2026-11" or "2026-11-21"')


def _check_names(found: Any, own: Path) -> None:
    taken: dict[str, str] = {}
    for gpu in found:
        for name in (gpu.name, *gpu.aliases):
            other = taken.setdefault(_plain(name), gpu.name)
            if other != gpu.name:
                raise UsageError(f"{own}: {name!r} is both {other} and {gpu.name}; a name or alias belongs to one GPU")


