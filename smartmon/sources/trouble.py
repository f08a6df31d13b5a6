"""Episodes of an unreadable file: silence while it may be half-written, then one note, and one when it is over."""

from __future__ import annotations

from collections.abc import Mapping

from smartmon.records import Json, Note, Severity
from smartmon.text import duration

GRACE = 5.0
"""Seconds for which a file may be unreadable before anybody is told: trainers write in place."""
SCANS = 2


def worsen(
    episode: Mapping[str, Json] | None, problem: str, now: float, *, kind: str, what: str
) -> tuple[dict[str, Json], Note | None]:
    """Return the episode after one more failed read, and the note once it has lasted."""
    since = min(float(episode["since"]), now) if episode else now
    scans = int(episode["scans"]) + 1 if episode else 1
    noted = bool(episode and episode["noted"])
    state = {"since": since, "scans": min(scans, SCANS), "noted": noted}
    if noted or scans < SCANS or now - since < GRACE:
        return state, None
    note = Note(kind, f"{what} {problem}", Severity.WARNING, {"path": what, "problem": problem, "since": since})
    return state | {"noted": True}, note


def recover(episode: Mapping[str, Json] | None, now: float, *, kind: str, what: str) -> Note | None:
    """Return the note that an episode which had been told is over."""
    if not episode or not episode["noted"]:
        return None
    lasted = max(0.0, now - float(episode["since"]))
    return Note(kind, f"{what} can be read again after {duration(lasted)}", data={"path": what, "recovered": True})
