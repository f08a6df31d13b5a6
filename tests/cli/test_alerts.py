"""`smartmon alerts`: the words a person reads, the exit codes, and real messages."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from smartmon.cli import main
from smartmon.store import Store
from smartmon.store.rows import DeliveryRow

NOW = 1_762_954_222.0


class Webhook(BaseHTTPRequestHandler):
    bodies: list[dict[str, Any]]

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).bodies.append(sent)
        self.send_response(404 if self.path == "/gone" else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    Webhook.bodies = []
    with HTTPServer(("127.0.0.1", 0), Webhook) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def base(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smartmon.toml").write_text(
        f'[[notifiers]]\nname = "phone"\nurl = "json://127.0.0.1:{port}/s3cret-path"\n'
        f'[[notifiers]]\nname = "old"\nurl = "json://127.0.0.1:{port}/gone"\n'
    )
    return tmp_path


@pytest.fixture
def rows(base: Path) -> Iterator[list[DeliveryRow]]:
    with Store.open(base / ".smartmon" / "smartmon.db") as store:
        for n, state in enumerate(("sent", "dead", "pending")):
            event = {"kind": "run_finished", "message": "done", "step": n}
            row = store.add_delivery(
                notifier="phone",
                kind="event",
                severity="info",
                created_at=NOW + n,
                payload={"run": f"run-{n}", "event": event, "tried": NOW},
            )
            store.update_delivery(row, state=state, attempts=n, last_error="no route to s3cret-path" if n == 1 else "")
        yield store.deliveries()


def smartmon(*argv: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["alerts", *argv])
    return int(ended.value.code or 0)


def test_test_sends_a_real_message_and_says_so(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert smartmon("test", "phone") == 0
    assert capsys.readouterr().out == "phone: delivered\n"
    assert Webhook.bodies[0]["title"] == "smartmon test message"
    assert "'phone'" in Webhook.bodies[0]["message"]


def test_test_tells_each_notifiers_fate_by_name_and_exits_3(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert smartmon("test") == 3
    said = capsys.readouterr()
    assert said.out.startswith("phone: delivered\nold: failed: ")
    assert "error=404" in said.out
    assert said.err == "smartmon: no message reached old\n"
    assert "s3cret" not in said.out + said.err


def test_test_gives_one_json_document(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert smartmon("test", "--json") == 3
    assert [(one["notifier"], one["ok"]) for one in json.loads(capsys.readouterr().out)] == [
        ("phone", True),
        ("old", False),
    ]


def test_an_unknown_notifier_is_answered_with_the_known_ones(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert smartmon("test", "fone") == 2
    assert capsys.readouterr().err == "smartmon: there is no notifier 'fone'; the config has: phone, old\n"


def test_a_notifier_whose_secret_is_missing_fails_by_name(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (base / "smartmon.toml").write_text('[[notifiers]]\nname = "phone"\nurl = "${SMARTMON_TEST_NOT_SET}"\n')
    assert smartmon("test") == 3
    assert "phone: failed: " in capsys.readouterr().out


def test_without_notifiers_it_shows_how_to_add_one(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (base / "smartmon.toml").write_text("")
    assert smartmon("test") == 2
    assert "[[notifiers]]" in capsys.readouterr().err


def test_list_shows_what_failed_and_why(rows: list[DeliveryRow], capsys: pytest.CaptureFixture[str]) -> None:
    assert smartmon("list", "--state", "dead") == 0
    head, line, what, why = capsys.readouterr().out.splitlines()
    assert head.split() == ["ID", "TIME", "STATE", "TRIES", "TO"]
    assert line.startswith(rows[1].id)
    assert (what, why) == ("  run finished - run-1", "  no route to ***")


def test_list_gives_one_json_array_oldest_first(rows: list[DeliveryRow], capsys: pytest.CaptureFixture[str]) -> None:
    assert smartmon("list", "--json", "--limit", "2") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(one["state"], one["run"], one["attempts"]) for one in listed] == [
        ("dead", "run-1", 1),
        ("pending", "run-2", 2),
    ]
    assert listed[0]["error"] == "no route to ***"


def test_list_can_be_narrowed_by_kind_and_time(rows: list[DeliveryRow], capsys: pytest.CaptureFixture[str]) -> None:
    assert smartmon("list", "--json", "--kind", "run_finished") == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed
    assert all(one["title"].startswith("run finished") for one in listed)
    assert smartmon("list", "--kind", "crashed") == 0
    assert capsys.readouterr().out == "no messages that match\n"


def test_list_before_any_daemon_says_how_to_start_one(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert smartmon("list") == 4
    assert "smartmon run" in capsys.readouterr().err


def test_an_unknown_state_is_refused(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert smartmon("list", "--state", "lost") == 2
    assert "pending, sending, sent, dead" in capsys.readouterr().err


def test_retry_makes_one_message_due(rows: list[DeliveryRow], base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert smartmon("retry", rows[1].id[:8]) == 0
    assert capsys.readouterr().out == "1 message due now\n"
    with Store.open(base / ".smartmon" / "smartmon.db", readonly=True) as store:
        row = store.deliveries()[1]
    assert (row.state, row.attempts) == ("pending", 0)
    assert row.next_at > NOW
    assert "tried" not in row.payload


def test_retry_all_leaves_what_was_sent(rows: list[DeliveryRow], capsys: pytest.CaptureFixture[str]) -> None:
    assert smartmon("retry", "--all", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [rows[1].id, rows[2].id]


@pytest.mark.parametrize("argv", [(), ("abc", "--all"), ("ffff0000ffff0000f",)])
def test_retry_wants_exactly_one_thing_that_exists(rows: list[DeliveryRow], argv: tuple[str, ...]) -> None:
    assert smartmon("retry", *argv) == 2


@pytest.mark.parametrize("command", ["", "test", "list", "retry"])
def test_every_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert smartmon(*filter(None, [command]), "--help") == 0
    assert "Example: smartmon alerts" in capsys.readouterr().out
