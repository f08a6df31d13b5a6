"""What is written down is one line, whole, and harmless."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import structlog

from smartmon import log


@pytest.fixture(autouse=True)
def restore():
    yield
    structlog.reset_defaults()


def test_a_line_reaches_the_stream_and_the_file_of_the_day(tmp_path: Path):
    stream = io.StringIO()
    close = log.setup(form="text", folder=tmp_path / "logs", stream=stream, environ={})
    structlog.get_logger().warning("ALERT", reason="loss_spike_40.7pct", step=17500, value=1.02)
    close()
    (file,) = (tmp_path / "logs").glob("smart_monitor_????????.log")
    assert stream.getvalue() == file.read_text()
    assert stream.getvalue().endswith("WARNING ALERT reason=loss_spike_40.7pct step=17500 value=1.02\n")


def test_an_escape_sequence_in_a_field_cannot_reach_the_terminal():
    stream = io.StringIO()
    log.setup(form="text", stream=stream, environ={})
    structlog.get_logger().info("run.found", run="x\x1b[2J\ny")
    assert "\x1b" not in stream.getvalue()
    assert stream.getvalue().count("\n") == 1
    assert r"run=x\x1b[2J\x0ay" in stream.getvalue()


def test_json_is_one_object_a_line_with_a_zone():
    stream = io.StringIO()
    log.setup(form="json", stream=stream, environ={})
    structlog.get_logger().info("incident.opened", run="a", step=5)
    row = json.loads(stream.getvalue())
    assert (row["event"], row["level"], row["run"], row["step"]) == ("incident.opened", "info", "a", 5)
    assert row["timestamp"][-5] in "+-"


def test_the_journal_gets_json_with_a_priority():
    stream = io.StringIO()
    log.setup(form="auto", stream=stream, environ={"JOURNAL_STREAM": "8:1"})
    structlog.get_logger().error("x.failed")
    assert stream.getvalue().startswith("<3>{")


def test_what_the_redactor_removes_is_removed_from_every_field(tmp_path: Path):
    stream = io.StringIO()
    close = log.setup(
        form="text", folder=tmp_path, stream=stream, environ={}, redact=lambda t: t.replace("hunter22", "***")
    )
    structlog.get_logger().info("x.tried", url="json://u:hunter22@host/")
    close()
    assert "hunter22" not in stream.getvalue() + "".join(p.read_text() for p in tmp_path.iterdir())


def test_only_the_newest_days_are_kept(tmp_path: Path):
    file = log.DailyFile(tmp_path, keep=2)
    for day in range(4):
        file.write("x", 1_700_000_000 + day * 86400)
    file.close()
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "smart_monitor_20231116.log",
        "smart_monitor_20231117.log",
    ]


def test_a_log_folder_that_cannot_be_made_loses_the_lines_and_says_so_once(tmp_path: Path, capsys):
    (tmp_path / "logs").write_text("in the way")
    file = log.DailyFile(tmp_path / "logs")
    file.write("one", 0.0)
    file.write("two", 0.0)
    assert capsys.readouterr().err.count("cannot write the log") == 1


def test_a_line_below_the_level_is_not_written():
    stream = io.StringIO()
    log.setup(form="text", level="warning", stream=stream, environ={})
    structlog.get_logger().info("x.happened")
    assert stream.getvalue() == ""
