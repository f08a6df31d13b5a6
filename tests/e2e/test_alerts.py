"""One trouble, from a file on disk to a mailbox, a webhook and a Slack-shaped webhook, all real servers on loopback."""

from __future__ import annotations

import email
import email.policy
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from tests.e2e.world import Daemon, Receiver, Run, started, until


class Mailbox:
    """Keeps every letter that arrives."""

    def __init__(self) -> None:
        self.letters: list[Any] = []

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:
        self.letters.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 OK"


@pytest.fixture
def mail() -> Iterator[tuple[Mailbox, int]]:
    mailbox = Mailbox()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    yield mailbox, port
    controller.stop()


def config(webhook: Receiver, slack: Receiver, port: int) -> str:
    return f"""
[monitor]
poll_interval = "500ms"
[snapshots]
settle = "200ms"
[[notifiers]]
name = "mail"
url = "mailto://127.0.0.1:{port}?from=smartmon@example.org&to=night@example.org&mode=insecure"
[[notifiers]]
name = "webhook"
url = "json://127.0.0.1:{webhook.port}/hook"
[[notifiers]]
name = "chat"
url = "mmost://127.0.0.1:{slack.port}/abcdefghijklmnop"
"""


def feed(daemon: Daemon, run: Run, *losses: float, first: int = 100) -> None:
    for index, loss in enumerate(losses):
        step = first + 100 * index
        run.status(step, loss=loss)
        until(lambda step=step: daemon.rows("select 1 from runs where step = ?", step))


def test_a_spike_and_its_end_reach_a_mailbox_a_webhook_and_a_chat(tmp_path: Path, mail: tuple[Mailbox, int]):
    mailbox, port = mail
    run = Run(tmp_path / "train")
    run.checkpoint(100)
    with (
        Receiver() as webhook,
        Receiver() as slack,
        started(run.base, config=config(webhook, slack, port)) as daemon,
    ):
        feed(daemon, run, 0.74, 0.73, 0.72, 0.71, 1.02)
        until(lambda: mailbox.letters and webhook.texts and slack.texts)
        feed(daemon, run, *([0.71] * 25), first=600)
        until(lambda: len(mailbox.letters) == len(webhook.texts) == len(slack.texts) == 2)
        assert {row["state"] for row in daemon.cli("alerts", "list")} == {"sent"}
    title = "loss spike +40.7 % at step 500 - train"
    assert mailbox.letters[0]["Subject"] == title
    assert mailbox.letters[0]["To"] == "night@example.org"
    for text in (webhook.texts[0], slack.texts[0], mailbox.letters[0].get_body().get_content()):
        assert "Loss 1.02 at step 500 is 40.7 % above the mean of the last 4 values (0.725)" in text
        assert "checkpoint of step 100" in text
        assert "smartmon why train --step 500" in text
    assert mailbox.letters[1]["Subject"] == f"resolved: {title}"


def test_a_receiver_that_fails_for_a_while_gets_the_alert_once_it_is_back(tmp_path: Path):
    run = Run(tmp_path / "train")
    with Receiver() as receiver:
        receiver.answers = [503, 503]
        settings = f'[[notifiers]]\nname = "phone"\nurl = "json://127.0.0.1:{receiver.port}/"\n'
        with started(run.base, "--poll-interval", "0.5", config=settings) as daemon:
            feed(daemon, run, 0.74, 0.73, 0.72, 0.71, 1.02)
            until(lambda: receiver.texts, patience=40)
            (row,) = until(lambda: [row for row in daemon.cli("alerts", "list") if row["state"] == "sent"])
    assert row["attempts"] == 3
    assert row["id"] in receiver.texts[0]


def test_a_hook_gets_the_event_as_json_without_a_shell(tmp_path: Path):
    run = Run(tmp_path / "train")
    script = tmp_path / "hook.py"
    script.write_text("import sys, pathlib; pathlib.Path(sys.argv[1]).write_bytes(sys.stdin.buffer.read())\n")
    out = tmp_path / "out; touch pwned"
    import json
    import sys

    argv = json.dumps([sys.executable, str(script), str(out)])
    with started(run.base, config=f'[[hooks]]\non = ["loss_spike"]\nrun = {argv}\n') as daemon:
        feed(daemon, run, 0.74, 0.73, 0.72, 0.71, 1.02)
        until(lambda: out.exists() and out.read_bytes())
        event = json.loads(out.read_text())
    assert (event["kind"], event["run"], event["step"]) == ("loss_spike", "train", 500)
    assert not (tmp_path / "pwned").exists()


def test_the_heartbeat_is_called_while_all_is_well(tmp_path: Path):
    run = Run(tmp_path / "train")
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    called: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            called.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/ping/abcdef"
        with started(run.base, config=f'heartbeat_url = "{url}"\n') as daemon:
            until(lambda: called)
            assert daemon.stop() == 0
        server.shutdown()
        thread.join()
    assert called[0] == "/ping/abcdef"
    assert b"abcdef" not in daemon.log.read_bytes()
