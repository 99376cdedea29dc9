"""Where GPUs are lent by the session: what fits into one."""

from __future__ import annotations

from engine.report import numbers
from engine.report.facts import Facts
from engine.report.model import Basis, Missing, Name, Row, Section, Table, paragraph, row, say
from engine.text import clean
from engine.whatif.hardware_table import HardwareRow
from engine.whatif.session_limits import Session

TITLE = "Into a session"
COLUMNS = ("session", "lasts", "on", "a run", "everything", "sessions for all of it")
FITS = {"fits": "fits", "may not fit": "may not fit", "too long": "is too long"}


def section(facts: Facts) -> Section:
    seen = facts.elsewhere
    if not seen.rows or not seen.sessions:
        why = Missing(clean(seen.why).replace("`", "") or "no session is in the sheet")
        return Section("sessions", TITLE, (paragraph("Sessions: ", why),))
    if not any(fit.experiment not in ("not offered", "unknown") or one.too_small
               for one in seen.rows for fit in one.sessions):  # fmt: skip
        why = Missing("no time is known on the GPUs they offer")
        return Section("sessions", TITLE, (paragraph("Sessions: ", why),))
    rows = [line for session in seen.sessions for line in _session(session, seen.rows)]
    return Section("sessions", TITLE, (Table(id="sessions", columns=COLUMNS, rows=tuple(rows)),))


def _session(session: Session, rows: tuple[HardwareRow, ...]) -> list[Row]:
    """On every GPU it offers of which something is known; one that offers any, on the one here."""
    quoted = Basis("quoted", clean(f"quoted: {session.source}" + (f", {session.as_of}" if session.as_of else "")))
    least = f"{session.sure_hours:g} to " if session.sure_hours != session.hours else ""
    unsure = " (no source found)" if "hours" in session.unconfirmed else ""
    quota = f", {session.gpu_hours_a_week:g} GPU-hours a week" if session.gpu_hours_a_week is not None else ""
    lasts = numbers.sentence(f"{least}{session.hours:g} h{unsure}{quota}", quoted)
    name = Name(clean(session.name))
    offered = [one for one in rows if (one.here if not session.gpus else session.offers(one.name))]
    found = []
    small = ", ".join(clean(one.name) for one in offered if one.too_small)
    for one in offered:
        if not one.known:
            continue
        fit = next((each for each in one.sessions if each.session == session.name), None)
        if fit is None or fit.experiment in ("not offered", "unknown"):
            continue
        basis = Basis("modelled", clean(f"modelled: {one.name}, {one.why or 'measured on it'}; session {quoted.text}"))
        run, every = say(FITS.get(fit.run, fit.run)), say(FITS.get(fit.experiment, fit.experiment))
        count = say(numbers.count(fit.sessions, basis))
        if fit.weeks is not None and fit.weeks > 1:
            count += say(", over ", numbers.count(fit.weeks, basis, unit="weeks"))
        found.append(row(name, lasts, say(Name(clean(one.name))), run, every, count))
    if small:
        found.append(row(name, lasts, say(Name(small)), say(Missing("a step does not fit into its memory")), "", ""))
    if found:
        return found
    none = Missing("no time is known on the GPUs it offers")
    return [row(name, lasts, say(none), "", "", "")]
