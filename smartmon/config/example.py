"""The commented example file and the JSON Schema, both made from the models."""

from __future__ import annotations

import json
import re
import textwrap
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticUndefined

from smartmon.config import tree
from smartmon.config.model import Config
from smartmon.params import duration_text, seconds, size

HEAD = """\
# smartmon's configuration. Every setting is here, commented out, with its default.
# Looked for in --config, ./smartmon.toml, $XDG_CONFIG_HOME/smartmon/config.toml and /etc/smartmon/config.toml.
# Relative paths start from this file's folder. Durations are "30s", "10m", "4h" or "7d"; sizes "500MB" or "2GiB".
# Every key also has an environment variable, which wins over this file: SMARTMON_DETECTORS__LOSS_SPIKE__THRESHOLD=0.2
# Check what you wrote with: smartmon config check
"""

_SAMPLES: dict[str, dict[str, Any]] = {
    "": {
        "base_dirs": ["."],
        "state_dir": ".smartmon",
        "snapshots_dir": "snapshots",
        "log_dir": "logs",
        "heartbeat_url": "https://hc-ping.com/${HEARTBEAT_ID}",
    },
    "phases": {
        "until_step": 5000,
        "loss_spike_threshold": 0.5,
        "accuracy_drop_threshold": 15.0,
        "min_steps_between_saves": 250,
    },
    "snapshots": {"max_bytes": 200 * 2**30},
    "notifiers": {
        "name": "phone",
        "url": "ntfy://ntfy.sh/${NTFY_TOPIC}",
        "url_file": "secrets/phone-url",
        "quiet_hours": "22:00-07:00",
    },
    "hooks": {"name": "notify", "on": ["divergence"], "run": ["./notify.sh"]},
    "runs": {
        "name": "my-run",
        "path": "runs/my-run",
        "logs": ["runs/my-run/train.out"],
        "pattern": [r"it (?P<step>\d+) of (?P<total_steps>\d+): loss (?P<loss>\S+)"],
        "keys": {"metrics.train.ce": "loss"},
        "checkpoint_dir": "runs/my-run/out",
        "total_steps": 20000,
        "warmup_steps": 100,
        "max_lr": 0.0002,
        "accuracy_unit": "percent",
    },
    "detectors.gpu_hot": {"celsius": 85.0},
    "detectors.grad_explosion": {"clip": 1.0},
    "push": {"token_file": "secrets/push-token"},
    "dashboard": {"public_url": "http://gpu-box:8081"},
}
"""What is shown where there is no default to show."""


def example() -> str:
    """Return the text of `config.example.toml`."""
    flat, sections = [], []
    for name, info in tree.fields(Config).items():
        inner, many = tree.section(info.annotation)
        if inner is None:
            flat.extend(["", *_key(name, info, _SAMPLES[""].get(name))])
        else:
            sections.append("\n".join(_section(name, inner, info, many=many)))
    return HEAD + "\n".join(flat) + "\n\n" + "\n\n".join(sections) + "\n"


def _section(name: str, model: type[BaseModel], info: FieldInfo, *, many: bool) -> Iterator[str]:
    yield from _comment(info.description or "")
    # The headers stay live: an empty table is valid, and a key that loses its # lands where it belongs.
    yield f"#[[{name}]]" if many else f"[{name}]"
    deeper = []
    for key, field in tree.fields(model).items():
        inner, _many = tree.section(field.annotation)
        if inner is not None:
            deeper.append((f"{name}.{key}", inner, field))
        else:
            yield from _key(key, field, _SAMPLES.get(name, {}).get(key))
    for key, inner, field in deeper:
        yield ""
        yield from _section(key, inner, field, many=False)


def _key(name: str, info: FieldInfo, sample: Any = None) -> Iterator[str]:
    yield from _comment(info.description or "")
    default = info.get_default(call_default_factory=True)
    value = sample if sample is not None else None if default is PydanticUndefined else default
    yield f"#{name} = {_toml(value, info)}"


def _comment(sentence: str) -> list[str]:
    return textwrap.wrap(sentence, 116, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _is_duration(*parts: Any) -> bool:
    """Whether a field holds durations, itself or inside a table: numbers that are written as text."""
    return any(getattr(part, "func", None) is duration_text or _is_duration(*typing.get_args(part)) for part in parts)


def _toml(value: Any, info: FieldInfo) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return json.dumps(duration_text(value)) if _is_duration(info.annotation, *info.metadata) else size_text(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_bare(key)} = {_toml(item, info)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item, info) for item in value) + "]"
    return json.dumps(str(value))


def _bare(key: str) -> str:
    """Return a key as TOML has it: in quotes where a dot in it would mean a table."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def size_text(value: float) -> str:
    """Return a number as TOML has it: one that is a round size as `"2GiB"`."""
    for unit, name in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB")):
        if isinstance(value, int) and value >= unit and value % unit == 0:
            return f'"{value // unit}{name}"'
    return str(value)


class _Schema(GenerateJsonSchema):
    """Says that durations and sizes may also be text, which the bare number behind them does not tell."""

    def function_before_schema(self, schema: Any) -> JsonSchemaValue:
        inner = super().function_before_schema(schema)
        if schema["function"]["function"] in (seconds, size):
            return {"anyOf": [inner, {"type": "string"}]}
        return inner


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the config file, for editors."""
    made = Config.model_json_schema(by_alias=True, schema_generator=_Schema)
    return made | {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "smartmon configuration"}
