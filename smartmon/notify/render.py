"""Turn what happened into a title and a few lines for somebody reading a phone at three in the morning.

Pure: everything that is told comes in as `Facts`. What a run wrote is quoted as plain text only; it can neither
mention people, nor make links, nor reach a URL, a tag or an attachment.
"""

from __future__ import annotations

import math
import re
import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from smartmon.notify import words
from smartmon.records import Change, IncidentChange, Json, Severity
from smartmon.text import clock, count, duration, number

LATE = 120.0
"""Seconds after which a message says that it comes late."""

_TITLE_MOST = 200
_LINE_MOST = 600
_LISTED = 20
_SPACE = "\u200b"

_SAID = frozenset({"stalled", "crashed", "throughput_drop", "dead_expert"})
"""Kinds whose sentence has what was seen and expected, in units of its own."""
_MACHINE = frozenset({"disk_full_soon", "memory_low", "gpu_hot"})
"""Kinds that are no matter of a step: `smartmon why` knows nothing of them."""
_METRIC = re.compile(r"\b(?:eval_loss|eval_accuracy|learning_rate|grad_norm|aux_loss|eval_perplexity)\b(?![=/])")
"""Names that a sentence says in words, as titles do."""
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")
_SHOWN_FIRST = ("loss", "eval_loss", "accuracy", "eval_accuracy", "learning_rate", "grad_norm")
_HISTORIES = {"loss": "loss_history", "accuracy": "accuracy_history", "learning_rate": "lr_history"}


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of the snapshot that was asked for."""

    state: str
    """A state of the snapshot request: `pending`, `waiting`, `copying`, `held`, `done`, `skipped` or `dropped`."""
    note: str = ""
    path: Path | None = None
    name: str = ""
    checkpoint_step: int | None = None
    last_good_step: int | None = None
    """The step of the checkpoint from before the trouble, where it is another one and was kept as well."""
    has_checkpoint: bool = True


@dataclass(frozen=True, slots=True)
class Facts:
    """All that one message tells."""

    id: str
    run: str
    change: IncidentChange
    created_at: float
    now: float
    base_dir: Path | None = None
    opened_at: float | None = None
    kept: Kept | None = None
    latest: Mapping[str, Json] = field(default_factory=dict)
    """The run's newest values at the moment of sending."""
    suppressed: tuple[str, ...] = ()
    """The titles of messages that the rate cap folded into this one."""
    public_url: str = ""
    incident_id: int | None = None
    """Which incident the link leads to; the run's page without one."""
    host: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A title and a body, plain text, never empty."""

    title: str
    body: str
    severity: str = field(default="info")
    """A severity, or `success`: gives a service its colour."""


def plain(text: object, limit: int = _LINE_MOST) -> str:
    """Return one harmless line: NFC, without control, bidirectional and private characters, mentions or links."""
    joined = " ".join(unicodedata.normalize("NFC", str(text)).split())
    shown = "".join(char for char in joined if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
    shown = re.sub(r"(@)|(<)(?=[!@#&])|(\])(?=\()", rf"\g<0>{_SPACE}", shown)
    return shown if len(shown) <= limit else shown[: limit - 1].rstrip() + "…"


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(line for line in (plain(line) if line else "" for line in lines) if line)


def _footer(facts: Facts) -> str:
    host = f" on {plain(facts.host, 60)}" if facts.host else ""
    return f"smartmon{host}, {clock(facts.created_at)}, id {facts.id}"


def _finite(value: Json) -> float | None:
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if known else None


def _shown(name: str, value: float) -> str:
    return f"{number(value)} %" if name in ("accuracy", "eval_accuracy") else number(value)


def _meanwhile(change: IncidentChange) -> str:
    """Say what the other metrics did: each against its own recent mean where that is known."""
    latest = change.context.get("latest")
    if not isinstance(latest, Mapping):
        return ""
    parts = []
    told = " ".join(_around(change))
    for name in _SHOWN_FIRST:
        value = _finite(latest.get(name))
        if name == change.metric or value is None or words.words(name) in told:
            continue
        earlier = [v for v in map(_finite, _history(change, name)[:-1]) if v is not None]
        mean = sum(earlier) / len(earlier) if earlier else None
        moved = mean is not None and abs(value - mean) > 0.005 * abs(mean)
        was = f" (was {_shown(name, mean)})" if moved and mean is not None else ""
        parts.append(f"{words.words(name)} {_shown(name, value)}{was}")
    return f"Meanwhile: {', '.join(parts)}." if parts else ""


def _around(change: IncidentChange) -> list[str]:
    """What left its level, and what changed, around the onset."""
    told = change.context.get("around")
    return [str(each) for each in told] if isinstance(told, (list, tuple)) else []


def _now(facts: Facts) -> str:
    """Give the newest values, for messages that come long after the anomaly."""
    known = [(name, _finite(facts.latest.get(name))) for name in _SHOWN_FIRST]
    parts = [f"{words.words(name)} {_shown(name, value)}" for name, value in known if value is not None]
    return f"Now: {', '.join(parts)}." if parts else ""


def _history(change: IncidentChange, name: str) -> list[Json]:
    values = change.context.get(_HISTORIES.get(name, ""))
    return list(values) if isinstance(values, (list, tuple)) else []


def _expected(change: IncidentChange) -> str:
    """Say what was seen and expected, unless the sentence before has it already."""
    if change.expected is None or not math.isfinite(change.expected) or change.value is None:
        return ""
    if change.kind in _SAID or "expected" in change.message or _names(change.message, change.expected):
        return ""
    name, seen, expected = words.words(change.metric), number(change.value), number(change.expected)
    return f"{_sentence(name)[:-1]} {seen}, expected about {expected}."


def _names(text: str, value: float) -> bool:
    """Whether a text has a number, to the digits that it gives."""
    told = (float(found.replace(",", "")) for found in _NUMBER.findall(text))
    return any(abs(one - value) <= 0.01 * abs(value) for one in told)


def _since(facts: Facts) -> str:
    change = facts.change
    opened = facts.opened_at if facts.opened_at is not None else change.at
    start = f"step {count(change.start_step)},"
    if change.onset_step is not None and change.onset_step < change.start_step:
        start = f"about step {count(change.onset_step)}, noticed"
    elif change.change is Change.OPENED and change.start_step < change.step:
        start += " noticed"
    lasted = change.at - opened
    many = f", {count(change.anomalies)} times so far" if change.anomalies > 1 and change.kind != "stalled" else ""
    ago = f" ({duration(lasted)} ago)" if change.change is not Change.OPENED and lasted >= 60 else ""
    good = f" Last good step: {count(change.last_good_step)}." if change.last_good_step is not None else ""
    return f"Since {start} {clock(opened)}{ago}{many}.{good}"


def kept_line(kept: Kept | None) -> str:
    """Say in words what was kept, or why nothing was."""
    if kept is None:
        return ""
    if kept.state == "done":
        return _done_line(kept)
    note = f" ({kept.note})" if kept.note else ""
    return {
        "skipped": f"Nothing was kept: {kept.note or 'the snapshot was skipped'}.",
        "dropped": "",
        "copying": f"Keeping: {kept.note or 'copying the checkpoint'}.",
        "held": "Keeping: the checkpoint is set aside.",
    }.get(kept.state, f"Keeping: waiting for the checkpoint{note}.")


def _done_line(kept: Kept) -> str:
    where = str(kept.path) if kept.path is not None else kept.name
    if not kept.has_checkpoint:
        return f"Kept: {where}, but without a checkpoint: the trainer had saved none."
    step = f", checkpoint of step {count(kept.checkpoint_step)}" if kept.checkpoint_step is not None else ""
    if kept.last_good_step not in (None, kept.checkpoint_step):
        step += f" and the last good one, of step {count(kept.last_good_step)}"
    return f"Kept: {where}{step}."


def _next(facts: Facts) -> list[str]:
    change, kept = facts.change, facts.kept
    if change.change is Change.RESOLVED:
        return []
    commands = []
    if kept is not None and kept.state == "done" and kept.name and kept.has_checkpoint:
        commands.append(f"smartmon snapshots restore {shlex.quote(kept.name)} DEST")
    if change.kind == "crashed":
        commands.append(f"smartmon events list --run {shlex.quote(facts.run)}")
    elif change.kind in _MACHINE:
        pass
    elif change.kind == "stalled":
        commands.append("smartmon status")
    else:
        commands.append(f"smartmon why {shlex.quote(facts.run)} --step {change.step}")
    if wanted := str(change.context.get("next") or ""):
        commands.append(wanted)
    where = f" in {facts.base_dir}" if facts.base_dir is not None else ""
    return [f"Next{where}:", *commands] if commands else []


def _lower(text: str) -> str:
    """Let a sentence go on after a colon; names such as GPU stay as they are."""
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def _resolution(facts: Facts) -> list[str]:
    change = facts.change
    # What moves again says itself how long it stood; the incident is only as old as the first message.
    silent = change.kind == "stalled"
    known = facts.opened_at is not None and not silent
    lasted = f" It lasted {duration(change.at - (facts.opened_at or 0.0))}." if known else ""
    times = f" {count(change.anomalies)} anomalies in all." if change.anomalies > 1 and not silent else ""
    # A run that ended ends its incidents, and that may well ask for something.
    done = "" if "the run " in change.resolution else " Nothing to do."
    return [f"{_sentence(change.resolution or 'it is over')}{lasted}{times}{done}"]


def _sentence(text: str) -> str:
    text = _METRIC.sub(lambda found: words.words(found[0]), text.strip())
    return (text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")) if text else ""


def _last_words(change: IncidentChange) -> list[str]:
    """Quote the end of what the trainer said: of a traceback the last lines are the ones that tell."""
    lines = change.context.get("last_lines")
    if not isinstance(lines, (list, tuple)):
        lines = str(change.context.get("error_message") or "").strip().splitlines()
        lines = lines if len(lines) > 1 else []
    return [f"> {line}" for line in list(lines)[-5:]]


def _late(facts: Facts) -> str:
    waited = facts.now - facts.created_at
    return (
        f"This message is late by {duration(waited)}: it is from {clock(facts.created_at)}." if waited >= LATE else ""
    )


def _suppressed(facts: Facts) -> list[str]:
    if not facts.suppressed:
        return []
    shown = [f"- {title}" for title in facts.suppressed[-3:]]
    return [f"{len(facts.suppressed)} more suppressed in the last hour, the newest:", *shown]


def _link(facts: Facts) -> str:
    if not facts.public_url:
        return ""
    run = f"{facts.public_url.rstrip('/')}/#/run/{quote(facts.run, safe='')}"
    return run if facts.incident_id is None else f"{run}/incident/{facts.incident_id}"


def title(facts: Facts) -> str:
    """Return the message's title alone."""
    return plain(words.title(facts.change, facts.run), _TITLE_MOST)


def message(facts: Facts) -> Message:
    """Word one incident's change."""
    change = facts.change
    resolved = change.change is Change.RESOLVED
    critical = change.severity is Severity.CRITICAL and not resolved
    first = _sentence(change.message)
    lines = [_late(facts), f"Critical. {first}" if critical else first]
    if resolved:
        lines = [_late(facts), *_resolution(facts), _now(facts), f"It was: {first}" if first else ""]
    else:
        around = "; ".join(_around(change))
        lines += [_expected(change), *_last_words(change), _since(facts), f"Around it: {around}." if around else ""]
        lines.append(_meanwhile(change) or ("" if around else _now(facts)))
    if change.change in (Change.OPENED, Change.ESCALATED):
        cause = str(change.context.get("cause") or "")
        lines.append(
            f"Likely cause: {_lower(cause)}" if cause else words.advice(change.kind, change.severity, change.metric)
        )
    if change.change is Change.SUMMARY:
        lines.append("smartmon met this run only now; this is what was already wrong.")
    lines += [kept_line(facts.kept), *_next(facts), _link(facts), *_suppressed(facts)]
    body = _joined(lines)
    return Message(title(facts), f"{body}\n{_footer(facts)}", "success" if resolved else change.severity.value)


def digest(items: Sequence[Facts]) -> Message:
    """Word many runs' trouble as one message; the first item's id is the digest's."""
    runs = list(dict.fromkeys(item.run for item in items))
    worst = max((item.change.severity for item in items), key=lambda severity: severity.rank)
    kinds = list(dict.fromkeys(words.words(item.change.kind) for item in items))
    what = kinds[0] if len(kinds) == 1 else "trouble"
    critical = sum(item.change.severity is Severity.CRITICAL for item in items)
    grave = f", {critical} of them critical" if critical else ""
    head = f"{len(items)} incidents opened in {len(runs)} runs within moments{grave}."
    ordered = sorted(items, key=lambda item: -item.change.severity.rank)
    listed = [f"- {words.title(item.change, item.run)}" for item in ordered[:_LISTED]]
    more = [f"... and {len(items) - _LISTED} more"] if len(items) > _LISTED else []
    hint = "So many at once often have one cause: the machine, the disk, the network or the data."
    first = items[0]
    where = f" in {first.base_dir}" if first.base_dir is not None else ""
    lines = [_late(first), head, *listed, *more, hint, f"Next{where}:", "smartmon status", first.public_url]
    name = f"{what} in {len(runs)} runs: {', '.join(runs[:3])}{', ...' if len(runs) > 3 else ''}"
    return Message(plain(name, _TITLE_MOST), f"{_joined(lines)}\n{_footer(first)}", worst.value)


def event(facts: Facts, kind: str, text: str, step: int | None) -> Message:
    """Word an event that a notifier asked for by its kind, such as `run_finished`."""
    where = f" {words.at_step(step)}" if step is not None else ""
    name = plain(f"{words.words(kind)}{where} - {facts.run}", _TITLE_MOST)
    lines = [_late(facts), _sentence(text) or name, kept_line(facts.kept), _link(facts), *_suppressed(facts)]
    severity = "success" if kind in ("run_finished", "best_model") else facts.change.severity.value
    return Message(name, f"{_joined(lines)}\n{_footer(facts)}", severity)


def test(name: str, delivery_id: str, host: str, now: float) -> Message:
    """Word the message of `smartmon alerts test`."""
    lines = [
        f"This is what smartmon can send to {name!r}. Nothing is wrong.",
        f"smartmon{f' on {host}' if host else ''}, {clock(now)}, id {delivery_id}",
    ]
    return Message("smartmon test message", _joined(lines), "info")
