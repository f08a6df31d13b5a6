"""How snapshots, plans for them and comparisons of them are printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from smartmon.cli.output import table
from smartmon.records import Snapshot
from smartmon.retention import Action, Verdict
from smartmon.text import clean, clock, count, number, size

_ROW = (
    *("name", "run", "created_at", "reason", "step", "loss", "accuracy", "checkpoint_step", "bytes", "pinned"),
    *("attempt", "has_weights", "problem"),
)
METRICS = ("loss", "accuracy", "learning_rate", "grad_norm")
_FILES_SHOWN = 40


def row(one: Snapshot) -> dict[str, Any]:
    """A snapshot as `snapshots list --json` has it."""
    plain = {key: getattr(one, key) for key in _ROW}
    triggers = list(one.triggers)
    return plain | {
        "path": str(one.path),
        "triggers": triggers,
        "severity": one.severity.value,
        "state": one.state.value,
    }


def listing(found: Sequence[Snapshot]) -> str:
    """A table whose rows fit 80 columns; each name has a line of its own above its row, to be copied whole."""
    rows = [
        (
            one.run or "-",
            count(one.step),
            number(one.loss),
            count(one.checkpoint_step),
            size(one.bytes) if one.has_weights else "-",
            one.severity.value if one.run else "-",
            state(one),
        )
        for one in found
    ]
    head, *lines = table(
        ["run", "step", "loss", "checkpoint", "size", "severity", "state"],
        [(_cut(cells[0]), *cells[1:]) for cells in rows],
        right=frozenset({1, 2, 3, 4}),
    ).splitlines()
    body = [part for one, line in zip(found, lines) for part in (clean(one.name), f"  {line}")]
    return "\n".join([f"  {head}", *body])


def _cut(run: str, most: int = 20) -> str:
    shown = clean(run)
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def state(one: Snapshot) -> str:
    """The state, and what else decides how long it stays."""
    slim = one.metadata.get("slimmed_at") is not None
    return one.state.value + (", pinned" if one.pinned else "") + (", weights given up" if slim else "")


def details(one: Snapshot) -> str:
    """Everything about one snapshot, a fact a line."""
    data = one.metadata
    facts = [
        ("name", one.name),
        ("path", one.path),
        ("state", state(one) + (f": {one.problem}" if one.problem else "")),
        ("run", f"{one.run}, attempt {one.attempt}"),
        ("made", _moment(one.created_at)),
        ("why", f"{', '.join(one.triggers)} ({one.severity.value})"),
        ("step", count(one.step)),
        ("checkpoint", _checkpoint(one)),
        *((key.replace("_", " "), _value(key, data.get(key))) for key in METRICS),
        ("last losses", ", ".join(number(value) for value in data.get("loss_history") or ()) or "-"),
        ("best loss", f"{number(data.get('best_loss'))} at step {count(data.get('best_loss_step'))}"),
        ("size", f"{size(one.bytes)} ({data.get('copy_method', '-')})"),
    ]
    facts += [("seen", anomaly.get("message", "")) for anomaly in data.get("anomalies") or ()]
    lines = [f"{name:<14}{clean(value)}" for name, value in facts]
    files = data.get("files") or ()
    lines += ["", *(f"{size(file['bytes']):>10}  {clean(file['path'])}" for file in files[:_FILES_SHOWN])]
    if len(files) > _FILES_SHOWN:
        lines.append(f"{'':>10}  ... and {len(files) - _FILES_SHOWN} more")
    lines += [f"{'left out':>10}  {clean(one['path'])}: {clean(one['why'])}" for one in data.get("skipped") or ()]
    return "\n".join(lines)


def _checkpoint(one: Snapshot) -> str:
    if one.checkpoint_step is None:
        return "none: " + (one.metadata.get("note") or "the trainer had saved none")
    age = one.metadata.get("checkpoint_age_steps")
    good = one.metadata.get("last_good_checkpoint_step")
    told = f"step {count(one.checkpoint_step)}"
    if isinstance(age, int) and age:
        told += f", {count(abs(age))} steps {'before' if age > 0 else 'after'} the anomaly"
    return told + (f"; last good: step {count(good)}" if good is not None and good != one.checkpoint_step else "")


def plan(verdicts: Sequence[Verdict], dry_run: bool, failed: Mapping[str, str]) -> str:
    """A plan, or what was done of it: each snapshot with every reason."""
    if not verdicts:
        return "no snapshots yet"
    words = {
        Action.KEEP: "keep",
        Action.SLIM: "give up the weights of" if dry_run else "gave up the weights of",
        Action.REMOVE: "remove" if dry_run else "removed",
    }
    lines = []
    for verdict in verdicts:
        name = verdict.snapshot.name
        done = f"could not remove ({failed[name]})" if name in failed else words[verdict.action]
        lines += [f"{clean(done)} {clean(name)}", *(f"    {clean(reason)}" for reason in verdict.reasons)]
    freed = sum(one.snapshot.bytes for one in _changed(verdicts) if one.snapshot.name not in failed)
    changed = len(_changed(verdicts)) - len(failed)
    verb = "would free" if dry_run else "freed"
    told = f"{changed} of {len(verdicts)} snapshots, which {verb} up to {size(freed)}"
    return "\n".join([*lines, "", told if changed or failed else f"nothing to remove: all {len(verdicts)} stay"])


def plan_json(verdicts: Sequence[Verdict], dry_run: bool, failed: Mapping[str, str]) -> dict[str, Any]:
    """The same as JSON; a dry run and a real one differ in `dry_run` and `failed` only."""
    told: dict[str, Any] = {"dry_run": dry_run, "keep": [], "slim": [], "remove": [], "failed": dict(failed)}
    for verdict in verdicts:
        one = verdict.snapshot
        entry = {"name": one.name, "run": one.run, "bytes": one.bytes, "reasons": list(verdict.reasons)}
        told[verdict.action.value].append(entry)
    return told


def _changed(verdicts: Sequence[Verdict]) -> list[Verdict]:
    return [verdict for verdict in verdicts if verdict.action is not Action.KEEP]


def comparison(found: Mapping[str, Any]) -> str:
    """Two snapshots side by side."""
    first, second = found["a"], found["b"]
    facts = [
        (key.replace("_", " "), _fact(key, first[key]), _fact(key, second[key]), "") for key in first if key != "name"
    ]
    numbers = [
        (key.replace("_", " "), _value(key, pair["a"]), _value(key, pair["b"]), _signed(pair["difference"]))
        for key, pair in found["numbers"].items()
    ]
    settings = [(key, _shown(pair["a"]), _shown(pair["b"]), "") for key, pair in found["parameters"].items()]
    parts = [
        f"A  {clean(first['name'])}",
        f"B  {clean(second['name'])}",
        "",
        table(["", "A", "B", "B - A"], [*numbers, *facts, *settings]),
        "",
    ]
    files = found["files"]
    parts.append(f"files: {len(files['same'])} the same, {len(files['different'])} different")
    for key, words in (("different", "different"), ("only_a", "only in A"), ("only_b", "only in B")):
        parts += [f"  {words}: {clean(name)}" for name in files[key][:_FILES_SHOWN]]
    return "\n".join(parts)


def _value(metric: str, value: float | None) -> str:
    unit = " %" if metric == "accuracy" and value is not None else ""
    return f"{number(value)}{unit}"


def _fact(key: str, value: Any) -> str:
    """A fact in the words of `snapshots show` and `list`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return size(value) if key == "bytes" else count(value)
    if key == "created_at" and isinstance(value, str):
        return _moment(value)
    return _shown(value)


def _moment(written: str) -> str:
    """A moment of a metadata file in local time, as everywhere else."""
    try:
        return clock(datetime.fromisoformat(written).timestamp())
    except (ValueError, OverflowError, OSError):
        return written or "-"


def _shown(value: Any) -> str:
    """A setting as TOML spells it."""
    return "-" if value is None else str(value).lower() if isinstance(value, bool) else _cut(str(value), 30)


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.4g}"
