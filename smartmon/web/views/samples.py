"""What the model answered: the bundled trainer's looks, or the samples that a status file carries."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from smartmon.sources import jsontext
from smartmon.sources.safe_read import Unreadable, read_file
from smartmon.store import RunRow
from smartmon.web.models_detail import Message, Sample, Samples, Token, Verdict
from smartmon.web.site import Site
from smartmon.web.views.cards import finite
from smartmon.web.views.curves import identity
from smartmon.web.views.files import last_lines, root_of, stamp

_HISTORY = ("logs/training_detail.jsonl", "current_model/logs/training_detail.jsonl")
_NOW = ("status/training_detail.json", "current_model/status/training_detail.json")
_TEXTS = ("training_viz/text_samples.json", "text_samples.json")
_ANSWERS = ("predicted", "model_answer", "golden", "golden_answer")
_ROOM = 4 << 20
"""Bytes of the history that are looked through: some thousand samples."""
_LINES = 4000
_WORDS = 600
"""Words of an answer that are compared."""
_PAIRS = 20_000
"""Pairs of equal words in two answers, up to which it is looked for where each went."""
_TEXT = 40_000
"""Characters of a text that are told."""

Record = Mapping[str, Any]


def samples(site: Site, row: RunRow, *, step: int | None = None, prompt: str | None = None, limit: int = 20) -> Samples:
    """Return the newest samples; of one step, or of one prompt across the steps."""
    source, records = _records(site, row)
    wanted = [
        record
        for record in records
        if (step is None or _whole(record.get("step")) == step) and (prompt is None or prompt_id(record) == prompt)
    ]
    steps = dict.fromkeys(found for record in wanted if (found := _whole(record.get("step"))) is not None)
    return Samples(
        run=row.name, source=source, steps=list(steps)[:1000], samples=[sample(one) for one in wanted[:limit]]
    )


def prompt_id(record: Record) -> str:
    """Return the same for the same prompt."""
    messages, text = _prompt(record)
    told = repr([(one.role, one.content) for one in messages] or text).encode("utf-8", "backslashreplace")
    return hashlib.sha256(told).hexdigest()[:16]


def sample(record: Record) -> Sample:
    """Return what a file says of one answer."""
    messages, text = _prompt(record)
    golden, predicted = (
        _text(record, "golden", "golden_answer"),
        _text(record, "predicted", "model_output", "model_answer"),
    )
    told = _tokens(record.get("tokens"))
    compared = "tokens" if told else "words" if golden is not None and predicted is not None else None
    tokens = told if told else words(golden or "", predicted or "") if compared else []
    matches = sum(one.verdict == "match" for one in tokens)
    exact = record.get("exact", record.get("matches"))
    return Sample(
        step=_whole(record.get("step")),
        epoch=finite(record.get("epoch")),
        at=_moment(record.get("timestamp")),
        prompt_id=prompt_id(record),
        messages=messages,
        text=text,
        golden=golden,
        predicted=predicted,
        generating=record.get("generating") is True,
        ended=_word(record.get("ended")),
        compared=compared,
        tokens=tokens,
        matches=matches if tokens else None,
        total=len(tokens) if tokens else None,
        accuracy=round(100 * matches / len(tokens), 2) if tokens else None,
        exact=exact if isinstance(exact, bool) else None,
        golden_loss=finite(record.get("golden_loss", record.get("loss"))),
        train_loss=finite(record.get("train_loss")),
        eval_loss=finite(record.get("eval_loss")),
        learning_rate=finite(record.get("learning_rate")),
        gpu_memory=_word(record.get("gpu_memory")),
        row=_whole(record.get("row")),
        error=_word(record.get("error")),
    )


def words(golden: str, predicted: str) -> list[Token]:
    """Compare two answers word by word, where nobody tells their tokens."""
    wanted, said = re.findall(r"\s*\S+", golden)[:_WORDS], re.findall(r"\s*\S+", predicted)[:_WORDS]
    plain, other_plain = [word.strip() for word in wanted], [word.strip() for word in said]
    found: list[Token] = []
    for what, a, b, c, d in _changes(plain, other_plain):
        pairs = max(b - a, d - c)
        for place in range(pairs):
            one = wanted[a + place] if a + place < b else None
            other = said[c + place] if c + place < d else None
            verdict: Verdict = "missing" if other is None else "extra" if one is None else "mismatch"
            found.append(Token(golden=one, predicted=other, verdict="match" if what == "equal" else verdict))
    return found


def _changes(wanted: list[str], said: list[str]) -> Iterable[tuple[str, int, int, int, int]]:
    """Return how one list of words becomes another; place by place where few words come so often that looking for
    where they went would take seconds, and tell nothing."""
    often = Counter(said)
    if sum(often[word] for word in wanted) <= _PAIRS:
        return difflib.SequenceMatcher(None, wanted, said, autojunk=False).get_opcodes()
    both = min(len(wanted), len(said))
    same = (("equal" if wanted[n] == said[n] else "replace", n, n + 1, n, n + 1) for n in range(both))
    return [*same, ("rest", both, len(wanted), both, len(said))]


def _records(site: Site, row: RunRow) -> tuple[str, list[Record]]:
    """Return where samples were found, and all of them, the newest first."""
    for name in _HISTORY:
        now = _now(row)
        path = row.path / name
        mark = stamp(path)
        if mark:
            past = site.large.get(("samples", *identity(row)), mark, lambda n=name: _past(row, n))  # type: ignore[misc]
            fresh = [now] if now and (not past or _key(now) != _key(past[0])) else []
            return name, [*fresh, *past]
    if (record := _now(row)) is not None:
        return _NOW[0], [record, *_status_examples(row)]
    if texts := _texts(row):
        return _TEXTS[0], texts
    told = _status_examples(row)
    return ("status/training_status.json" if told else ""), told


def _past(row: RunRow, name: str) -> list[Record]:
    try:
        block = last_lines(row.path / name, root_of(row), _LINES, room=_ROOM)
    except Unreadable:
        return []
    return [record for line in reversed(block.lines) if (record := _object(line.data))]


def _now(row: RunRow) -> Record | None:
    for name in _NOW:
        try:
            record = _object(read_file(row.path / name, root=root_of(row)).data)
        except Unreadable:
            continue
        if record and not record.keys().isdisjoint(_ANSWERS):
            return record
    return None


def _texts(row: RunRow) -> list[Record]:
    for name in _TEXTS:
        try:
            value = jsontext.loads(read_file(row.path / name, root=root_of(row)).data)
        except (Unreadable, jsontext.BadJson):
            continue
        rows = value if isinstance(value, list) else value.get("text_samples") if isinstance(value, dict) else None
        if isinstance(rows, list):
            told = [one for one in rows if isinstance(one, dict)]
            return [
                {**one, "prompt": one.get("input"), "predicted": one.get("output"), "golden": one.get("expected")}
                for one in reversed(told)
            ]
    return []


def _status_examples(row: RunRow) -> list[Record]:
    """Return the samples that the status carried when it was last read."""
    told = row.data.get("samples")
    told = told if isinstance(told, dict) else {}
    examples = [one for one in told.get("recent_examples") or () if isinstance(one, dict)]
    if examples:
        return list(reversed(examples))
    newest = {
        "step": row.step,
        "system": told.get("current_system_prompt"),
        "prompt": told.get("current_prompt"),
        "golden": told.get("golden_answer"),
        "predicted": told.get("model_answer"),
        "matches": told.get("answer_matches"),
    }
    return [newest] if newest["prompt"] or newest["predicted"] else []


def _object(data: bytes) -> Record | None:
    try:
        return jsontext.load_object(data)
    except jsontext.BadJson:
        return None


def _prompt(record: Record) -> tuple[list[Message], str | None]:
    prompt = record.get("prompt", record.get("input"))
    if isinstance(prompt, dict):
        messages, text = prompt.get("messages"), prompt.get("text")
        if isinstance(messages, list):
            return [_message(one) for one in messages[:100] if isinstance(one, dict)], None
        return [], _word(text)
    if isinstance(prompt, list):
        return [_message(one) for one in prompt[:100] if isinstance(one, dict)], None
    if isinstance(prompt, str) and isinstance(record.get("system"), str):
        system = Message(role="system", content=record["system"][:_TEXT])
        return [system, Message(role="user", content=prompt[:_TEXT])], None
    return [], _word(prompt)


def _message(given: Record) -> Message:
    content = given.get("content")
    return Message(role=str(given.get("role", ""))[:40], content=(content if isinstance(content, str) else "")[:_TEXT])


def _tokens(given: object) -> list[Token]:
    rows = given if isinstance(given, list) else []
    return [
        Token(golden=_word(one.get("golden")), predicted=_word(one.get("predicted")), verdict=one["verdict"])
        for one in rows[:2000]
        if isinstance(one, dict) and one.get("verdict") in ("match", "mismatch", "missing", "extra")
    ]


def _text(record: Record, *names: str) -> str | None:
    return next((_word(record[name]) for name in names if isinstance(record.get(name), str)), None)


def _word(value: object) -> str | None:
    return value[:_TEXT] if isinstance(value, str) else None


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, (int, float)) and value == value and abs(value) < 2**62 else None  # noqa: PLR0124


def _moment(value: object) -> float | None:
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).timestamp()
        except (ValueError, OverflowError):
            return None
    return finite(value)


def _key(record: Record) -> tuple[object, ...]:
    return record.get("step"), record.get("timestamp"), record.get("predicted")
