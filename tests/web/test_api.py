"""What each endpoint answers of the runs in `world.py`."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from smartmon.records import Severity
from smartmon.store import Store
from smartmon.web.serve import Served
from smartmon.web.views.cards import current_run
from tests.web.world import BACK, EVIL, LAST, NOW, RUN, at, fill, loss, served, spike


def told(api: httpx.Client, path: str, **params: object) -> dict[str, object]:
    """Ask, and return the answer as JSON that any browser reads."""
    answer = api.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return json.loads(answer.content, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_the_runs_are_told_with_their_states(api: httpx.Client) -> None:
    answer = told(api, "/api/runs")
    assert [(one["run"], one["state"], one["color"], one["current"]) for one in answer["runs"]] == [
        (RUN, "running", "green", True),
        (EVIL, "failed", "red", False),
    ]
    first, evil = answer["runs"]
    assert (first["step"], first["progress"], first["attempt"]) == (LAST, 0.5, 2)
    assert [brief["kind"] for brief in first["open_incidents"]] == ["loss_spike"]
    assert len(first["sparkline"]) <= 60
    assert 50.0 not in (evil["loss"], evil["sparkline"])
    assert evil["error"] == "\\ud800 <b>OOM</b>"
    assert answer["daemon"]["running"] is True


def test_runs_are_found_by_words_and_states(api: httpx.Client) -> None:
    assert [one["run"] for one in told(api, "/api/runs", search="QLORA")["runs"]] == [RUN]
    assert [one["run"] for one in told(api, "/api/runs", state="failed")["runs"]] == [EVIL]
    assert api.get("/api/runs", params={"state": "nonsense"}).status_code == 422


def test_the_cards_tell_what_is_known(api: httpx.Client) -> None:
    answer = told(api, "/api/stats")
    assert answer["run"] == RUN
    assert (answer["loss"], answer["eval_loss"], answer["accuracy"]) == (1.0, 1.0, 81.25)
    assert (answer["aux_loss"], answer["nonfinite"]) == (None, ["aux_loss"])
    assert answer["warmup"] == {"state": "done", "steps": 100, "max_lr": 2e-4}
    assert answer["steps_per_sec"]["average"] == pytest.approx(2.0)
    assert answer["tokens_per_sec"]["average"] == 5000.0
    assert answer["perplexity"]["train"] == pytest.approx(math.e)
    assert answer["best"] == {"metric": "eval_loss", "value": 1.0, "step": 950, "epoch": 0.5}
    assert answer["grad_norm"]["mean100"] == 1.0
    assert answer["started_at"] == at(1, 1)
    assert answer["has_experts"] is True
    assert not any(name.startswith("expert_usage") for name in answer["metrics"])


def test_the_run_that_is_meant_gets_on_or_has_just_ended(tmp_path: Path) -> None:
    with Store.open(tmp_path / "smartmon.db") as store, store.transaction():

        def told(name: str, state: str, silent: float) -> str | None:
            run = store.run(name) or store.ensure_run(name, tmp_path / name, tmp_path, NOW)
            store.update_run(run.id, state=state, step=1, data={"last_step_at": NOW - silent})
            current = current_run(store)
            return current and current.name

        assert told("hung", "running", 3600) == "hung"
        assert told("slow", "running", 3000) == "slow"
        assert told("ended", "completed", 30) == "ended"
        assert told("slow", "running", 300) == "slow"


def test_how_far_a_run_is_is_estimated_where_its_rows_tell_only_the_time_left(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    with Store.open(tmp_path / ".smartmon" / "smartmon.db") as store, store.transaction():
        run = store.ensure_run("bare", tmp_path / "bare", tmp_path, NOW)
        for step in range(10, 210, 10):
            speed = 0.1 if step == 200 else 2.0
            values = {"loss": 1.0, "steps_per_sec": speed, "eta_seconds": (1000 - step) / 2.0}
            store.append(run.id, 1, step, NOW + step / 2, values)
        store.update_run(run.id, state="running", step=200, data={"latest": values})
    with served(tmp_path) as where, httpx.Client(base_url=where.url, trust_env=False) as client:
        answer = told(client, "/api/stats")
        assert (answer["total_steps"], answer["estimated_total"], answer["progress"]) == (None, 1000, 0.2)
        assert told(client, "/api/runs")["runs"][0]["progress"] == 0.2


def test_a_series_holds_every_extreme_and_every_nan(api: httpx.Client) -> None:
    answer = told(api, "/api/series", metric="loss", max_points=50)
    (one,) = answer["series"]
    assert one["count"] == LAST + LAST - BACK + 1
    assert len(one["points"]) <= 50
    assert max(point[3] for point in one["points"]) == 50.0
    assert one["nonfinite"] == [600]
    assert [stretch["attempt"] for stretch in one["attempts"]] == [1, 2]
    assert sum(stretch["points"] for stretch in one["attempts"]) == len(one["points"])


@pytest.mark.parametrize(
    ("x", "first", "last"),
    [
        ("step", 1, LAST),
        ("time", at(1, 1), at(2, LAST)),
        ("elapsed", 0, at(2, LAST) - at(1, 1)),
        ("position", 1, LAST + LAST - BACK + 1),
    ],
    ids=["step", "time", "elapsed", "position"],  # the times would name them otherwise in each process
)
def test_a_series_lies_on_each_axis(api: httpx.Client, x: str, first: float, last: float) -> None:
    answer = told(api, "/api/series", x=x)
    points = answer["series"][0]["points"]
    assert (points[0][0], points[-1][0]) == (first, last)
    grows = all(before[0] < after[0] for before, after in pairwise(points))
    assert grows == (x != "step")


@pytest.mark.parametrize(
    ("x", "start", "end"),
    [("step", 950, 960), ("time", at(2, 950), at(2, 960)), ("position", 1051, 1061)],
    ids=["step", "time", "position"],
)
def test_a_zoom_shows_every_point(api: httpx.Client, x: str, start: float, end: float) -> None:
    (one,) = told(api, "/api/series", x=x, **{"from": start, "to": end})["series"]
    newest = one["points"][-11:]
    assert one["bucket"] == 1
    assert [point[1] for point in newest] == [loss(step) for step in range(950, 961)]
    assert len(one["points"]) == (22 if x == "step" else 11)


def test_smoothing_is_causal_and_leaves_nan_out(api: httpx.Client) -> None:
    (one,) = told(api, "/api/series", smooth=0.9, mean=10, attempt=1, to=620)["series"]
    assert one["columns"] == ["x", "value", "min", "max", "ema", "mean"]
    losses = [loss(step) for step in range(591, 601)]
    assert one["points"][599][5] == pytest.approx(sum(losses[:-1]) / 9)
    assert one["points"][599][1] is None
    level, weight = 0.0, 0.0
    for step in range(1, 620):
        if math.isfinite(loss(step)):
            level, weight = 0.9 * level + 0.1 * loss(step), 0.9 * weight + 0.1
        assert one["points"][step - 1][4] == pytest.approx(level / weight)


def test_several_runs_and_metrics_come_in_the_order_asked_for(api: httpx.Client) -> None:
    answer = told(api, "/api/series", run=[EVIL, RUN], metric=["grad_norm", "loss"])
    pairs = [(one["run"], one["metric"], bool(one["points"])) for one in answer["series"]]
    expected = [(EVIL, "grad_norm", False), (EVIL, "loss", True), (RUN, "grad_norm", True), (RUN, "loss", True)]
    assert pairs == expected


def test_the_timeline_is_paged_from_the_newest(api: httpx.Client) -> None:
    page = told(api, "/api/events", limit=2)
    assert [one["kind"] for one in page["events"]] == ["incident_opened", "loss_spike"]
    assert page["more"] is True
    rest = told(api, "/api/events", before=page["events"][-1]["id"])
    assert [(one["kind"], one["icon"]) for one in rest["events"]] == [("run_failed", "warning")]
    assert rest["more"] is False
    assert page["events"][1]["data"] == {"z": "NaN"}
    assert [one["run"] for one in told(api, "/api/events", severity="critical")["events"]] == [EVIL]


def test_an_incident_tells_everything(api: httpx.Client) -> None:
    (brief,) = told(api, "/api/incidents", open="true")["incidents"]
    answer = told(api, f"/api/incidents/{brief['id']}")
    assert answer["incident"]["title"] == "loss spike +2300.0 % at step 500 - qlora-7b"
    assert answer["histories"]["loss"] == [1.5, None, 50.0]
    assert answer["around"] == ["grad_norm rose"]
    assert [(one["notifier"], one["state"]) for one in answer["deliveries"]] == [("phone", "pending")]
    assert [one["state"] for one in answer["kept"]] == ["done"]
    assert [one["checkpoint_step"] for one in answer["snapshots"]] == [400]
    assert [one["kind"] for one in answer["events"]] == ["loss_spike", "incident_opened"]
    assert "smartmon why qlora-7b --step 500" in answer["commands"]
    assert answer["metrics"] == ["loss", "eval_loss", "grad_norm", "learning_rate", "tokens_per_sec"]
    assert answer["from_step"] < 500 < answer["to_step"]


def test_a_jump_of_the_learning_rate_is_its_maximum_and_no_end_of_the_warm_up(tmp_path: Path) -> None:
    fill(tmp_path)
    with Store.open(tmp_path / ".smartmon" / "smartmon.db") as store, served(tmp_path) as where:
        run = store.ensure_run("jumps", tmp_path / "j", tmp_path, NOW)
        assert run is not None

        def step_to(first: int, last: int) -> dict[str, object]:
            with store.transaction():
                for step in range(first, last + 1):
                    rate = min(step / 100, 1 - step / 1000) * (100 if 131 <= step <= 133 else 1)
                    store.append(run.id, 1, step, NOW - 900 + step, {"loss": 1.0, "learning_rate": rate})
                latest = {"latest": {"learning_rate": rate}}
                store.update_run(run.id, state="running", step=last, data=latest)
            with httpx.Client(base_url=where.url, trust_env=False) as client:
                return told(client, "/api/stats", run="jumps")["warmup"]

        assert step_to(1, 50) == {"state": "warming_up", "steps": None, "max_lr": 0.5}
        assert step_to(51, 125)["steps"] == 91
        assert step_to(126, 300) == {"state": "done", "steps": 91, "max_lr": pytest.approx(86.9)}


def test_of_open_incidents_what_brings_others_with_it_comes_first(tmp_path: Path) -> None:
    fill(tmp_path)
    with Store.open(tmp_path / ".smartmon" / "smartmon.db") as store, served(tmp_path) as where:
        run = store.run(RUN)
        assert run is not None
        with store.transaction():
            for number, kind in enumerate(("loss_spike", "divergence", "accuracy_drop")):
                store.save_incident(run.id, replace(spike(), key=f"k{number}", kind=kind, severity=Severity.CRITICAL))
        with httpx.Client(base_url=where.url, trust_env=False) as client:
            found = told(client, "/api/stats")["open_incidents"]
        assert [one["kind"] for one in found] == ["divergence", "loss_spike", "accuracy_drop", "loss_spike"]
        assert [one["severity"] for one in found] == ["critical"] * 3 + ["warning"]


def test_checkpoints_are_whole_or_not(api: httpx.Client) -> None:
    answer = told(api, "/api/checkpoints")
    assert [(one["step"], one["complete"]) for one in answer["checkpoints"]] == [(950, False), (900, True)]
    assert answer["checkpoints"][0]["problem"] == "there is no trainer_state.json yet"
    assert answer["checkpoints"][1]["eval_loss"] == pytest.approx(1.05)
    assert [one["best"] for one in answer["checkpoints"]] == [True, False]


@pytest.mark.parametrize(
    ("best", "marked"),
    [(901, [True, False]), (851, [False, True]), (850, [False, False])],
    ids=["the next after it", "the next after it", "its own is gone"],
)
def test_a_checkpoint_is_called_the_best_only_where_it_holds_it(
    api: httpx.Client, writer: Store, best: int, marked: list[bool]
) -> None:
    run = writer.run(RUN)
    assert run is not None
    with writer.transaction():
        writer.update_run(run.id, data={"best_loss_step": best})
    try:
        assert [one["best"] for one in told(api, "/api/checkpoints")["checkpoints"]] == marked
    finally:
        with writer.transaction():
            writer.update_run(run.id, data={"best_loss_step": 950})


def test_snapshots_come_with_their_commands(api: httpx.Client, base: Path) -> None:
    answer = told(api, "/api/snapshots", run=RUN)
    (one,) = answer["snapshots"]
    assert (one["triggers"], one["kinds"]) == (["loss_spike_2300.0pct"], ["loss_spike"])
    assert answer["bytes"] == one["bytes"] == 4_100_000_000
    assert one["commands"][-1] == f"smartmon snapshots restore {one['name']} DEST --base-dir {base}"


def test_samples_come_newest_first_and_by_prompt(api: httpx.Client) -> None:
    answer = told(api, "/api/samples")
    assert answer["steps"] == [300, 200, 100]
    newest = answer["samples"][0]
    assert (newest["matches"], newest["total"], newest["exact"]) == (1, 1, True)
    assert newest["messages"] == [{"role": "user", "content": "<script>alert(1)</script> who barks?"}]
    same = told(api, "/api/samples", prompt=newest["prompt_id"], step=100)
    assert [one["tokens"][0]["verdict"] for one in same["samples"]] == ["mismatch"]


def test_dead_experts_are_told(api: httpx.Client) -> None:
    answer = told(api, "/api/experts")
    assert [layer["layer"] for layer in answer["layers"]] == ["layer_2", "layer_10"]
    assert [one["expert"] for one in answer["layers"][0]["experts"] if one["dead"]] == ["expert_3"]
    assert (answer["dead"], answer["step"]) == (2, LAST)


def test_a_log_is_read_from_its_end_and_paged_to_its_beginning(api: httpx.Client) -> None:
    answer = told(api, "/api/log", limit=200)
    kinds = [line["kind"] for line in answer["lines"]]
    assert len(kinds) == 200
    assert kinds[-4:] == ["step", "checkpoint", "evaluation", "text"]
    lines = answer["lines"]
    while answer["before"] is not None:
        answer = told(api, "/api/log", before=answer["before"])
        lines = [*answer["lines"], *lines]
    assert [line["text"] for line in lines[:2]] == ["***** Running training *****", "Step 1 loss 1.0"]
    assert len(lines) == 504
    assert lines[0]["kind"] == "start"


def test_the_machine_and_the_process_are_told(api: httpx.Client) -> None:
    answer = told(api, "/api/gpu")
    assert answer["process"]["alive"] is True
    assert answer["process"]["memory"] > 1_000_000
    assert answer["disk_total"] > answer["disk_free"] > 0
    past = {one["name"]: one["points"] for one in answer["past"]}
    assert [value for _, value in past["disk_free"]][-1] > 0
    assert [value for _, value in past["memory_available"]][-1] > 0


def test_runs_are_compared_without_their_secrets(api: httpx.Client) -> None:
    answer = told(api, "/api/compare", run=[RUN, EVIL])
    assert [one["key"] for one in answer["differences"]] == ["settings.lr"]
    assert answer["differences"][0]["values"] == [2e-4, 1e-4]
    assert [one["card"]["run"] for one in answer["runs"]] == [RUN, EVIL]
    assert answer["metrics"] == ["loss"]


def test_a_run_whose_settings_nobody_knows_differs_in_none_of_them(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    (tmp_path / "train" / "e" / "training_config.json").unlink()
    with served(tmp_path / "train") as where, httpx.Client(base_url=where.url, trust_env=False) as client:
        assert told(client, "/api/compare", run=[RUN, EVIL])["differences"] == []


def test_pictures_are_drawn_beside_the_server(api: httpx.Client) -> None:
    pytest.importorskip("matplotlib", reason="pip install 'smartmon[plots]'")
    (one,) = told(api, "/api/plots", name="loss")["plots"]
    assert base64.b64decode(one["png"]).startswith(b"\x89PNG")


def test_an_unknown_run_is_told_with_what_there_is(api: httpx.Client) -> None:
    answer = api.get("/api/stats", params={"run": "qlora-8b"})
    assert answer.status_code == 404
    assert answer.json()["error"] == "there is no run qlora-8b; did you mean qlora-7b?"


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/api/series", {"max_points": 0}),
        ("/api/series", {"from": "NaN"}),
        ("/api/series", {"x": "sideways"}),
        ("/api/series", {"smooth": 1}),
        ("/api/events", {"limit": 10**30}),
        ("/api/incidents/99999999999999999999", {}),
        ("/api/log", {"before": -1}),
        ("/api/stats", {"run": [RUN, EVIL]}),
        ("/api/stream", {"last_event_id": [1, 2]}),
    ],
)
def test_a_parameter_out_of_bounds_is_refused(api: httpx.Client, path: str, params: dict[str, object]) -> None:
    answer = api.get(path, params=params)
    assert answer.status_code == 422
    assert set(answer.json()) == {"error"}


def test_who_has_it_already_is_told_so(api: httpx.Client) -> None:
    first = api.get("/api/series")
    again = api.get("/api/series", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = api.get("/api/series", params={"metric": "grad_norm"}, headers={"if-none-match": first.headers["etag"]})
    assert other.status_code == 200


def test_answers_are_compressed_for_who_takes_it(api: httpx.Client) -> None:
    assert api.get("/api/series").headers["content-encoding"] == "gzip"
    assert "content-encoding" not in api.get("/api/series", headers={"accept-encoding": "identity"}).headers


def test_every_endpoint_is_described(api: httpx.Client) -> None:
    document = told(api, "/api/openapi.json")
    paths = document["paths"]
    names = "runs stats series plots checkpoints snapshots events incidents gpu samples experts log compare stream"
    assert {f"/api/{name}" for name in names.split()} | {"/health", "/metrics"} <= paths.keys()
    shapes = document["components"]["schemas"].values()
    fields = [field for shape in shapes for field in shape.get("properties", {}).values()]
    assert all(field.get("description") for field in fields)
    words = api.get("/api").text
    assert all(f"GET {path}" in words for path in paths)


def test_the_health_follows_the_daemon(api: httpx.Client) -> None:
    assert told(api, "/health")["status"] == "ok"


def test_prometheus_reads_every_line(api: httpx.Client) -> None:
    answer = api.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.text.splitlines()
    assert 'smartmon_run_step{run="qlora-7b"} 1000' in lines
    assert 'smartmon_run_metric{run="<script>alert(1)</script>\\"\\n",metric="loss"} NaN' in lines
    assert 'smartmon_run_open_incidents{run="qlora-7b",severity="warning"} 1' in lines
    assert all(line.startswith(("# HELP smartmon_", "# TYPE smartmon_", "smartmon_")) for line in lines)


def test_a_base_dir_that_nobody_has_watched_is_served(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with served(tmp_path / "train") as where, httpx.Client(base_url=where.url, trust_env=False) as client:
        answer = told(client, "/api/runs")
        assert (answer["runs"], answer["daemon"]["state"]) == ([], "never")
        assert answer["daemon"]["command"] == f"smartmon run --base-dir {tmp_path / 'train'}"
        assert told(client, "/health")["status"] == "degraded"
        assert "smartmon_daemon_up 0" in client.get("/metrics").text
        assert client.get("/api/stats").status_code == 404
        assert [path.name for path in (tmp_path / "train").iterdir()] == []
        with Store.open(tmp_path / "train" / ".smartmon" / "smartmon.db") as store:
            store.ensure_run("new", tmp_path / "train" / "new", tmp_path / "train", NOW)
        assert [one["run"] for one in told(client, "/api/runs")["runs"]] == ["new"]


def test_a_damaged_database_is_told_in_words(tmp_path: Path) -> None:
    path = tmp_path / ".smartmon" / "smartmon.db"
    path.parent.mkdir()
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    with served(tmp_path) as where, httpx.Client(base_url=where.url, trust_env=False) as client:
        answer = client.get("/health")
        assert (answer.status_code, answer.json()["status"]) == (503, "degraded")
        assert client.get("/api/runs").status_code == 503
        assert "damaged" in client.get("/api/stats").json()["error"]


def test_reading_writes_nothing(api: httpx.Client, base: Path, dashboard: Served) -> None:
    assert dashboard.port
    path = base / ".smartmon" / "smartmon.db"
    before = path.read_bytes()
    for name in ("runs", "stats", "series", "events", "incidents", "snapshots", "experts", "compare", "checkpoints"):
        told(api, f"/api/{name}")
    assert path.read_bytes() == before


def test_what_the_cards_tell_is_of_the_steps_that_they_name(tmp_path: Path) -> None:
    (tmp_path / "slow").mkdir()
    with Store.open(tmp_path / ".smartmon" / "smartmon.db") as store, store.transaction():
        run = store.ensure_run("slow", tmp_path / "slow", tmp_path, NOW)
        for step in range(2, 402, 2):
            store.append(run.id, 1, step, NOW + step, {"loss": 1.0, "learning_rate": step * 1e-6, "grad_norm": step})
        store.append(run.id, 1, 405, NOW + 405, {"perplexity": 30.0})
        data = {"latest": {"learning_rate": 4e-4}, "last_step_at": NOW + 405, "best_loss": 30.0}
        store.update_run(run.id, state="running", step=405, data={**data, "best_metric": "perplexity"})
    with served(tmp_path) as where, httpx.Client(base_url=where.url, trust_env=False) as client:
        answer = told(client, "/api/stats")
        prometheus = client.get("/metrics").text
    # The rate still rises, though the newest row does not tell it.
    assert answer["warmup"] == {"state": "warming_up", "steps": None, "max_lr": 400 * 1e-6}
    assert answer["grad_norm"]["mean100"] == sum(range(302, 402, 2)) / 50
    assert answer["updated_at"] == NOW + 405
    assert answer["steps_per_sec"]["average"] == 1.0
    assert answer["perplexity"]["best"] == 30.0
    assert 'smartmon_run_best{run="slow",metric="perplexity"} 30.0' in prometheus


def test_a_zoom_is_smoothed_as_the_whole_is(api: httpx.Client) -> None:
    asked = {"attempt": 1, "smooth": 0.9, "mean": 50}
    (whole,) = told(api, "/api/series", **asked)["series"]
    (part,) = told(api, "/api/series", **asked, **{"from": 300, "to": 400})["series"]
    assert part["mean_over"] == whole["mean_over"] == 50
    assert part["points"] == [pytest.approx(row) for row in whole["points"][299:400]]
