"""Hooks: data by standard input and environment, no shell, bounded in time and output."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from smartmon.notify import hooks, routing
from smartmon.notify.process import Process, run
from smartmon.notify.redact import Redactor
from tests.notify.servers import until
from tests.notify.test_routing import NOW, SPIKE


def told(**differs: Any) -> dict[str, Any]:
    payload = {"run": differs.pop("run", "my-run"), "change": routing.pack(replace(SPIKE, **differs))}
    return hooks.document(
        payload, delivery_id="1a2b", severity="warning", created_at=NOW, run_path=Path("/d/my-run"), base_dir=Path("/d")
    )


def ran(script: str, folder: Path, timeout: float = 20.0, **differs: Any) -> Process:
    file = folder / "hook.sh"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    hook = SimpleNamespace(run=("./hook.sh",), timeout=timeout)
    return run(hooks.start(hook, told(**differs), folder, Redactor()))


def test_the_event_comes_as_json_on_standard_input(tmp_path: Path) -> None:
    ran("cat > got.json", tmp_path)
    got = json.loads((tmp_path / "got.json").read_text())
    assert (got["event"], got["run"], got["kind"], got["step"]) == ("opened", "my-run", "loss_spike", 5)
    assert (got["reason"], got["id"], got["run_path"]) == ("loss_spike_40.7pct", "1a2b", "/d/my-run")
    assert got["value"] is None
    assert got["latest"] == {"loss": 2.0}


def test_the_json_is_json_even_for_infinities() -> None:
    document = told(value=math.inf, context={"latest": {"loss": -math.inf}})
    assert json.loads(json.dumps(document, allow_nan=False))["latest"] == {"loss": None}


def test_the_essentials_are_in_the_environment(tmp_path: Path) -> None:
    process = ran('echo "$SMARTMON_EVENT $SMARTMON_KIND $SMARTMON_STEP $SMARTMON_SEVERITY"', tmp_path)
    assert hooks.outcome(process, 20, Redactor()) == (True, "opened loss_spike 5 warning")


def test_no_shell_reads_what_a_run_is_called(tmp_path: Path) -> None:
    ran("true", tmp_path, run="$(touch pwned); touch pwned\n`touch pwned`\0")
    assert not (tmp_path / "pwned").exists()


def test_a_failure_tells_its_status_and_last_line(tmp_path: Path) -> None:
    process = ran("echo one; echo two >&2; exit 7", tmp_path)
    assert hooks.outcome(process, 20, Redactor()) == (False, "exit status 7: two")


def test_one_over_its_time_is_killed_with_all_it_started(tmp_path: Path) -> None:
    process = ran("sleep 60 & echo $! > child; wait", tmp_path, timeout=1.0)
    assert hooks.outcome(process, 1.0, Redactor()) == (False, "killed after 1s")
    pid = int((tmp_path / "child").read_text())
    until(lambda: not alive(pid))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_endless_output_is_cut_and_blocks_nobody(tmp_path: Path) -> None:
    process = ran("head -c 3000000 /dev/zero | tr '\\0' x; echo done >&2", tmp_path)
    assert len(process.output) == hooks.OUTPUT_MOST
    assert hooks.outcome(process, 20, Redactor())[0]


def test_one_that_reads_nothing_and_leaves_a_child_behind_ends_well(tmp_path: Path) -> None:
    process = ran("sleep 5 & exec <&-; exit 0", tmp_path, context={"latest": {"x": "y" * 200_000}})
    assert process.returncode == 0


def test_programs_are_found_beside_the_config_or_along_the_path() -> None:
    folder = Path("/etc/smartmon")
    assert hooks.command(("./notify.sh", "-x"), folder) == ["/etc/smartmon/notify.sh", "-x"]
    assert hooks.command(("/opt/notify",), folder) == ["/opt/notify"]
    assert hooks.command(("notify-send",), folder) == ["notify-send"]
    assert hooks.command(("~/n",), folder) == [f"{os.path.expanduser('~')}/n"]  # noqa: PTH111
