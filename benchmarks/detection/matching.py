"""Which alarms are right: detection windows, one credit per event, repeats, and false alarms as episodes.

The same for every system. Alarms inside an event belong to it: the first one in its window is the hit, the rest are
repeats. Alarms elsewhere, closer together than `GAP` points, are one false episode.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.detection.curves import Alarm, Curve, Event

GAP = 50
"""Points within which alarms are one episode."""


@dataclass(frozen=True)
class Seen:
    """An alarm, or an event, by step: what is left when the curve is gone."""

    kind: str
    step: int
    severity: str = ""
    delay: int = 0
    note: str = ""


@dataclass
class Outcome:
    """What a system's alarms on one curve were worth."""

    system: str
    id: str
    source: str
    section: str
    split: str
    shape: str
    points: int
    healthy: bool
    hits: list[Seen] = field(default_factory=list)
    """The events that were told in time, with the delay in points."""
    misses: list[Seen] = field(default_factory=list)
    """The events that were not; the note says what came late, or was seen without being told."""
    false: list[Seen] = field(default_factory=list)
    """The first alarm of each false episode."""
    raw_false: int = 0
    repeats: int = 0


def match(system: str, curve: Curve, alarms: list[Alarm], quiet: list[Alarm] | None = None) -> Outcome:
    """Judge a system's alarms on a curve. `quiet`: what it recorded without telling anybody."""
    outcome = Outcome(
        system, curve.id, curve.source, curve.section, curve.split, curve.shape, curve.points, curve.healthy
    )
    alarms = sorted((alarm for alarm in alarms if alarm.row >= curve.begin), key=lambda alarm: alarm.row)
    left = _claim(curve, alarms, outcome, quiet or [])
    left = [alarm for alarm in left if not curve.spared(alarm.row)]
    outcome.raw_false = len(left)
    last: dict[str, int] = {}
    for alarm in left:
        family = min(alarm.families)
        if family not in last or curve.distance(curve.loss, last[family], alarm.row) > GAP:
            outcome.false.append(Seen(alarm.kind, curve.rows[alarm.row].step, alarm.severity, note=alarm.metric))
        last[family] = alarm.row
    return outcome


def _claim(curve: Curve, alarms: list[Alarm], outcome: Outcome, quiet: list[Alarm]) -> list[Alarm]:
    """Give each event its first right alarm; return the alarms that belong to no event."""
    taken: set[int] = set()
    for event in curve.events:
        hit = next(
            (
                index
                for index, alarm in enumerate(alarms)
                if index not in taken and event.first <= alarm.row <= event.until and alarm.families & event.families
            ),
            None,
        )
        step = curve.rows[event.onset].step
        if hit is None:
            outcome.misses.append(Seen(event.kind, step, note=_instead(curve, event, alarms, quiet)))
            continue
        taken.add(hit)
        alarm = alarms[hit]
        delay = curve.distance(event.metric, event.onset, alarm.row)
        outcome.hits.append(Seen(event.kind, step, alarm.severity, delay, alarm.kind))
    belongs = taken | _inside(curve, alarms)
    outcome.repeats = len(belongs) - len(taken)
    return [alarm for index, alarm in enumerate(alarms) if index not in belongs]


def _instead(curve: Curve, event: Event, alarms: list[Alarm], quiet: list[Alarm]) -> str:
    """Return in words what there was of a missed event."""
    for alarm in alarms:
        if event.first <= alarm.row <= event.end:
            delay = curve.distance(event.metric, event.onset, alarm.row)
            right = "late" if alarm.families & event.families else "of another family"
            return f"{alarm.kind} {delay} points after the onset, {right}"
    for alarm in quiet:
        if event.first <= alarm.row <= event.until and alarm.families & event.families:
            return f"only info: {alarm.kind}"
    return "nothing"


def _inside(curve: Curve, alarms: list[Alarm]) -> set[int]:
    """Return the alarms within an event, or that follow one within an episode's gap."""
    found: set[int] = set()
    for event in curve.events:
        reach = None
        for index, alarm in enumerate(alarms):
            if alarm.row < event.first:
                continue
            within = alarm.row <= max(event.end, event.until)
            if within or (reach is not None and curve.distance(curve.loss, reach, alarm.row) <= GAP):
                found.add(index)
                reach = alarm.row
    return found
