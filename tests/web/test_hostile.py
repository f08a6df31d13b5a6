"""What others have written, and what they ask for, harms nobody: secrets, evil texts, costly questions."""

from __future__ import annotations

import json
import os
from pathlib import Path

import httpx
import pytest

from smartmon.errors import UsageError
from smartmon.store import Store
from smartmon.web import masks
from smartmon.web.readers import Readers
from smartmon.web.views import curves, log, samples
from tests.web.test_api import told
from tests.web.world import EVIL, NOW, RUN, fill, served


def test_settings_that_are_secret_by_name_are_left_out_however_deep(tmp_path: Path) -> None:
    base = tmp_path / "train"
    fill(base)
    settings = {"hub": {"token": {"value": "abc"}}, "env": [{"HF_TOKEN": "abc", "A": 1}], "max_password": "abc"}
    (base / "q" / "training_config.json").write_text(json.dumps(settings | {"pad_token": "abc", "url": "s3://u:p@x/"}))
    with served(base) as where, httpx.Client(base_url=where.url, trust_env=False) as client:
        found = told(client, "/api/compare", run=[RUN, EVIL])["differences"]
    values = {one["key"]: one["values"][0] for one in found}
    assert values == {"settings.lr": None, "env": "[{'A': 1}]", "pad_token": "abc", "url": "s3://***@x/"}


def test_no_secret_in_the_texts_of_others_is_served(tmp_path: Path) -> None:
    base = tmp_path / "train"
    fill(base)
    key = "hf_" + "aB3" * 11
    text = f"push to https://me:hunter22@hub with {key}, WANDB_API_KEY=wandbwandb, --password opensesame"
    (base / "q" / "logs" / "output.log").write_text(f"{text}\nstep 5 token: 17 tokens=4096\n")
    with Store.open(base / ".smartmon" / "smartmon.db") as store:
        run = store.run(RUN)
        assert run is not None
        store.update_run(run.id, data={**run.data, "error_message": text})
        store.add_event(at=NOW, kind="warning", message=text, run_id=run.id, severity="warning")
    with served(base) as where, httpx.Client(base_url=where.url, trust_env=False) as client:
        for name in ("log", "stats", "runs", "events", "stream?last_event_id=0"):
            with client.stream("GET", f"/api/{name}") as response:
                answer = next(part for part in response.iter_text() if "push to" in part)
            assert not [secret for secret in (key, "hunter22", "wandbwandb", "opensesame") if secret in answer]
            assert "push to https://***@hub with ***" in answer
        assert told(client, "/api/log")["lines"][1]["text"] == "step 5 token: 17 tokens=4096"


def test_no_pattern_looks_back_over_what_it_has_seen() -> None:
    # Where one does, a line of this length takes longer than a test may.
    for part in ("*", "9", "1/", "secret", "token", "://a", "a:", "hf_", "--", "eyJ", "a" * 17):
        line = part * (80_000 // len(part))
        assert not any(pattern.search(line) for _, pattern in log._KINDS)
        assert masks.hidden(line) == line


def test_answers_that_repeat_themselves_are_compared_place_by_place() -> None:
    found = samples.words("a b " * 300, "b b " * 200)
    assert [one.verdict for one in found[:3]] == ["mismatch", "match", "mismatch"]
    assert ([one.verdict for one in found[400:]], len(found)) == (["missing"] * 200, 600)


def test_many_series_share_what_one_answer_may_hold(api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "_MOST_POINTS", 100)
    answer = told(api, "/api/series", metric=["loss", "grad_norm"], max_points=1000)
    assert all(0 < len(one["points"]) <= 50 for one in answer["series"])


def test_a_run_that_is_not_there_costs_no_connection(base: Path) -> None:
    readers = Readers(lambda: base / ".smartmon" / "smartmon.db")
    with readers.lend() as first:
        pass
    with pytest.raises(UsageError), readers.lend() as second:
        raise UsageError("there is no such run")
    assert first is second
    readers.close()


def test_what_is_no_file_is_no_database(tmp_path: Path) -> None:
    (tmp_path / ".smartmon").mkdir()
    os.mkfifo(tmp_path / ".smartmon" / "smartmon.db")
    with served(tmp_path) as where, httpx.Client(base_url=where.url, trust_env=False) as client:
        assert client.get("/health").status_code == 503
        assert "is no file" in client.get("/api/runs").json()["error"]
