"""What gpu_defaults has measured, as a table, and the defaults that follow from it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

# Of two settings whose steps differ by less, the simpler one is chosen: repeated measurements differ by as much.
ALIKE = 1.05
# Of an error's characters: the file has all of it.
MOST = 100
# Half precision learns what bf16 learns, with more digits; fp32 needs neither a scaler nor a look at its range.
SIMPLE_PRECISION = ("fp16", "bf16", "fp32")


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One combination, a process's work. `sides`: of a sample, voxels; empty for the experiment's own."""

    model: str
    precision: str
    channels_last: bool
    compile: bool
    recompute: bool
    device: str
    small: bool
    sides: tuple[int, ...] = ()
    steps: int

    @property
    def words(self) -> str:
        said = [self.precision, "channels_last" if self.channels_last else "contiguous"]
        return ", ".join([*said, *["compile"] * self.compile, *["activation_checkpointing"] * self.recompute])

    @property
    def effort(self) -> tuple[bool, bool, bool, int]:
        """Less of it is simpler: compiling takes a compiler and tens of seconds, a layout copies."""
        return self.recompute, self.compile, self.channels_last, SIMPLE_PRECISION.index(self.precision)


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of a step (median of `steps`) and of the first one; bytes at the peak, 0 where the device does not tell;
    `loss` after the same number of steps in all."""

    seconds: float = 0.0
    first: float = 0.0
    allocated: int = 0
    reserved: int = 0
    loss: float = 0.0
    steps: int = 0
    active: str = ""
    parameters: int = 0
    error: str = ""


Found = Sequence[tuple[Setting, Measured]]


def chosen(found: Found) -> tuple[Setting, Measured] | None:
    """Of one network: the simplest setting that takes at most ALIKE times the shortest step; None if none was measured."""
    done = [(setting, one) for setting, one in found if not one.error]
    if not done:
        return None
    shortest = min(one.seconds for _, one in done)
    return min((each for each in done if each[1].seconds <= ALIKE * shortest), key=lambda each: each[0].effort)


def table(found: Found) -> list[str]:
    """A line for each; for each network the fastest, the one that takes least memory, and the default to choose."""
    wide = max((len(setting.words) for setting, _ in found), default=0)
    lines = [
        f"{'':14} {'':{wide}} {'ms a step':>9} {'first, s':>9} {'allocated':>10} {'reserved, GiB':>14}   "
        f"{'computes in':15} loss"
    ]
    for setting, one in sorted(found, key=lambda each: each[0].model):
        begin = f"{setting.model:14} {setting.words:{wide}} "
        if one.error:
            lines.append(begin + one.error[:MOST])
            continue
        lines.append(
            begin + f"{one.seconds * 1e3:9.1f} {one.first:9.1f} {_gib(one.allocated):>10} {_gib(one.reserved):>14}   "
            f"{one.active:15} {one.loss:.4f}"
        )
    for model in dict.fromkeys(setting.model for setting, _ in found):
        lines += _sums(model, [each for each in found if each[0].model == model])
    return lines


def _sums(model: str, found: Found) -> list[str]:
    done, default = [each for each in found if not each[1].error], chosen(found)
    if default is None:
        return [f"{model}: nothing was measured, so no default can be told"]
    quick = min(done, key=lambda each: each[1].seconds)
    lines = [f"{model}: {quick[1].parameters:,} parameters; fastest {quick[0].words} ({quick[1].seconds * 1e3:.1f} ms)"]
    if quick[1].reserved:
        least = min(done, key=lambda each: each[1].reserved)
        lines.append(f"{model}: least memory {least[0].words} ({_gib(least[1].reserved)} GiB)")
    slower = default[1].seconds / quick[1].seconds - 1
    why = "the fastest" if default == quick else f"{slower:.1%} slower than the fastest, and simpler"
    missing = len(found) - len(done)
    lines.append(f"{model}: default {default[0].words}: {why}" + (f"; {missing} not measured" if missing else ""))
    return lines


def _gib(count: int) -> str:
    return f"{count / 2**30:.2f}" if count else "–"
