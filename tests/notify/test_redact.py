"""The redactor: no part of a configured secret gets through, and ordinary text does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from smartmon.errors import ConfigError
from smartmon.notify.redact import Redactor, parts

SECRETS = [
    ("mailto://reporter:hunter22@mail.example.org?to=night@example.net", ["hunter22", "reporter", "night@example.net"]),
    ("tgram://123456789:AAE-secret_token/987654321", ["AAE-secret_token", "123456789", "987654321"]),
    ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", ["JHMHI8qBe7bk2ZwO5U711o3dV_js", "4174216298"]),
    ("json://10.0.0.1:8000/hook/deadbeef99?+X-Token=t0psecret", ["deadbeef99", "t0psecret"]),
    ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#night", ["TIiajkdnlazkcOXrIdevi7FQ", "T1JJ3T3L2"]),
    ("json://user:p%40ss%2Fword@127.0.0.1/x", ["p@ss/word", "p%40ss%2Fword"]),
    ("https://hc-ping.com/0c8983c9-9d73-446f-adb5-0641fdacc9d4", ["0c8983c9-9d73-446f-adb5-0641fdacc9d4"]),
]


def knowing(*urls: str) -> Redactor:
    redactor = Redactor()
    for url in urls:
        redactor.add(url)
    return redactor


@pytest.mark.parametrize(("url", "secrets"), SECRETS)
def test_every_part_of_a_url_is_masked(url: str, secrets: list[str]) -> None:
    redactor = knowing(url)
    for secret in [url, *secrets]:
        assert secret not in redactor.clean(f"cannot reach {secret}, really")
        assert quote(secret, safe="") not in redactor.clean(quote(secret, safe=""))


def test_ordinary_text_is_left_alone() -> None:
    text = "connection to 127.0.0.1:8000 refused; localhost, json, alerts list, http, step 17,500"
    assert knowing("json://127.0.0.1:8000/alerts/localhost?format=markdown").clean(text) == text


def test_nothing_is_masked_before_anything_is_known() -> None:
    assert Redactor().clean("all of it") == "all of it"


def test_short_parts_are_no_secrets() -> None:
    assert "abc" not in parts("json://abc:de@127.0.0.1/fgh")


class Unreadable:
    def resolve(self) -> str:
        raise ConfigError("no such file")


def test_a_configuration_is_learned_whole_and_unreadable_urls_are_passed_over() -> None:
    known = SimpleNamespace(resolve=lambda: "json://127.0.0.1/t0ken-one")
    config: Any = SimpleNamespace(
        notifiers=[Unreadable(), known],
        heartbeat_url=SimpleNamespace(get_secret_value=lambda: "https://h.io/t0ken-two"),
    )
    assert Redactor(config).clean("t0ken-one t0ken-two") == "*** ***"


def test_log_events_are_cleaned_in_every_depth() -> None:
    redactor = knowing("json://127.0.0.1/t0ken-one")
    event = {"event": "x", "error": ValueError("t0ken-one"), "deep": {"a": ["t0ken-one", 3]}, "n": 1.5}
    assert redactor.processor(None, "info", event) == {
        "event": "x",
        "error": "***",
        "deep": {"a": ["***", 3]},
        "n": 1.5,
    }


def test_variables_that_hold_a_url_do_not_reach_a_hook() -> None:
    redactor = knowing("json://127.0.0.1/t0ken-one")
    assert redactor.environ({"HOME": "/root", "URL": "json://127.0.0.1/t0ken-one"}) == {"HOME": "/root"}
