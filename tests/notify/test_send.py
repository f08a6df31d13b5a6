"""The sending child against real servers: what arrives, what is final, what leaks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from smartmon.notify import child
from smartmon.notify import send as sending
from smartmon.notify.process import run
from smartmon.notify.redact import Redactor
from smartmon.notify.send import Result
from tests.notify.servers import Mailbox, Receiver, silent_port, until


def deliver(url: str, body: str = "body", *, limit: float = 20.0) -> Result:
    return sending.send(url, "title", body, severity="critical", limit=limit, redactor=Redactor())


def test_json_arrives_as_it_was_written(receiver: Receiver) -> None:
    assert deliver(receiver.url(), "line 1\nid 1a2b").ok
    assert receiver.bodies[0]["title"] == "title"
    assert receiver.bodies[0]["message"] == "line 1\nid 1a2b"
    assert receiver.bodies[0]["type"] == "failure"


def test_a_slack_shaped_webhook_gets_one_text(receiver: Receiver) -> None:
    assert deliver(receiver.url("abcdefghijklmnop", "mmost")).ok
    assert receiver.bodies[0]["text"] == "title\r\nbody"
    assert receiver.bodies[0]["username"] == "smartmon"


def test_mail_arrives(mail: tuple[Mailbox, int]) -> None:
    mailbox, port = mail
    result = deliver(f"mailto://127.0.0.1:{port}?from=smartmon@example.org&to=night@example.org&mode=insecure")
    assert result == Result(True)
    assert mailbox.letters[0]["Subject"] == "title"
    assert mailbox.letters[0]["To"] == "night@example.org"


@pytest.mark.parametrize(
    ("status", "permanent"),
    [(500, False), (503, False), (429, False), (408, False), (302, False), (404, True), (401, True)],
)
def test_only_a_refusal_is_final(receiver: Receiver, status: int, permanent: bool) -> None:
    receiver.script = [status]
    result = deliver(receiver.url())
    assert (result.ok, result.permanent, result.status) == (False, permanent, status)


def test_retry_after_is_heard(receiver: Receiver) -> None:
    receiver.script, receiver.headers = [429], {"Retry-After": "37"}
    assert deliver(receiver.url()).retry_after == 37.0


def test_retry_after_may_be_a_date_or_nonsense() -> None:
    assert child.retry_after("Wed, 12 Nov 2025 13:30:22 GMT", 1_762_954_200.0) == 22.0
    assert child.retry_after("soon", 0.0) is None


def test_a_closed_port_is_worth_another_try() -> None:
    with silent_port() as port:
        pass
    result = deliver(f"json://127.0.0.1:{port}/s3cret-path")
    assert not result.permanent
    assert "[Errno 111] Connection refused" in result.error
    assert "s3cret-path" not in result.error


@pytest.mark.parametrize("url", ["tgram://S3CRETBOT/", "jsn://user:s3cretpw@host/", "S3CRETBOT"])
def test_a_url_that_apprise_refuses_is_final_and_stays_secret(url: str) -> None:
    result = deliver(url)
    assert result.permanent
    assert "s3cret" not in result.error.lower()


def test_one_that_never_answers_is_given_up_in_time() -> None:
    with silent_port() as port:
        assert deliver(f"json://127.0.0.1:{port}/x", limit=1.5) == Result(False, error="no answer within 2s")


def test_a_killed_child_is_a_failure_worth_another_try(receiver: Receiver) -> None:
    receiver.hang.clear()
    process = sending.start(receiver.url(), "t", "b", severity="info", limit=20)
    while not receiver.arrived.wait(0.01):
        process.move("stdin")
    os.kill(process.pid, signal.SIGKILL)
    result = sending.result(run(process), Redactor(), 20)
    assert (result.ok, result.permanent) == (False, False)
    assert "-9" in result.error


def test_the_secret_stands_on_no_command_line_and_in_no_environment(receiver: Receiver) -> None:
    receiver.hang.clear()
    process = sending.start(receiver.url("s3cret-path"), "t", "b", severity="info", limit=20)
    folder = Path(f"/proc/{process.pid}")
    while not receiver.arrived.wait(0.01):
        process.move("stdin")
    assert b"s3cret" not in (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
    process.kill()
    assert not folder.exists()


def test_a_body_over_the_services_limit_keeps_its_last_line() -> None:
    title, body = child.fit("t", "x" * 50 + "\nid 1a2b", title_limit=10, body_limit=30, together=False)
    assert (title, body) == ("t", "x" * 21 + "…\nid 1a2b")


def test_a_title_shares_the_bodys_room_where_the_service_has_none() -> None:
    title, body = child.fit("t" * 90, "b" * 90 + "\nid 1a2b", title_limit=0, body_limit=100, together=False)
    assert len(title) + len(body) + 2 <= 100
    assert body.endswith("…\nid 1a2b")


@pytest.mark.parametrize("limit", [1, 2, 5, 20])
def test_no_cut_exceeds_the_limit(limit: int) -> None:
    assert len(child.fit("t", "x" * 40 + "\nlast", title_limit=1, body_limit=limit, together=False)[1]) <= limit


def test_the_child_dies_with_a_daemon_that_is_killed(receiver: Receiver) -> None:
    receiver.hang.clear()
    code = (
        "import sys; from smartmon.notify import send; from smartmon.notify.process import run\n"
        "process = send.start(sys.argv[1], 't', 'b', severity='info', limit=60)\n"
        "print(process.pid, flush=True); run(process)"
    )
    with subprocess.Popen([sys.executable, "-c", code, receiver.url()], stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        folder = Path(f"/proc/{int(daemon.stdout.readline())}")
        assert receiver.arrived.wait(20)
        daemon.kill()
    until(lambda: not folder.exists() or (folder / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z")


def test_modules_that_lie_in_the_training_directory_are_not_ours(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "apprise", "requests", "smartmon"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not me')")
    monkeypatch.chdir(tmp_path)
    assert deliver(receiver.url()).ok
