"""Messages: what a person reads, whatever a run has written into its files."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from smartmon.notify import render
from smartmon.notify.render import Facts, Kept
from smartmon.records import Change, IncidentChange, Severity

NOW = 1_762_954_222.0

SPIKE = IncidentChange(
    key="loss_spike-1-17500",
    kind="loss_spike",
    family="loss",
    change=Change.OPENED,
    severity=Severity.WARNING,
    at=NOW,
    step=17500,
    start_step=17500,
    end_step=17500,
    anomalies=1,
    reason="loss_spike_40.7pct",
    message="loss is 0.873 at step 17,500; expected at most 0.807",
    notify=True,
    metric="loss",
    value=0.873,
    expected=0.620,
    last_good_step=17400,
    context={
        "latest": {"loss": 0.873, "accuracy": 71.2, "learning_rate": 2e-5, "grad_norm": 4.13},
        "accuracy_history": [75.0, 75.2, 71.2],
        "lr_history": [2e-5, 2e-5, 2e-5],
    },
)


def facts(change: IncidentChange = SPIKE, **more: object) -> Facts:
    given = {"id": "1a2b3c4d5e6f7081", "run": "my-run", "created_at": NOW, "now": NOW, "base_dir": Path("/data/t")}
    return Facts(change=change, **(given | more))  # type: ignore[arg-type]


def body(change: IncidentChange = SPIKE, **more: object) -> str:
    return render.message(facts(change, **more)).body


TITLES = [
    ({}, "loss spike +40.7 % at step 17,500 - my-run"),
    (
        {"kind": "accuracy_drop", "reason": "accuracy_drop_13.0pct"},
        "accuracy drop -13.0 points at step 17,500 - my-run",
    ),
    ({"kind": "divergence", "reason": "divergence_detected"}, "training diverges at step 17,500 - my-run"),
    ({"kind": "nonfinite", "value": math.nan}, "loss is NaN at step 17,500 - my-run"),
    ({"kind": "nonfinite", "value": math.inf}, "loss is infinite at step 17,500 - my-run"),
    ({"kind": "stalled"}, "no progress at step 17,500 - my-run"),
    ({"kind": "grad_vanish", "metric": "grad_norm", "value": 0.0}, "gradients vanish at step 17,500 - my-run"),
    ({"kind": "crashed", "reason": "crashed_loop"}, "training keeps crashing at step 17,500 - my-run"),
    ({"kind": "crashed"}, "training crashed at step 17,500 - my-run"),
    ({"kind": "gpu_hot", "metric": "gpu_temperature", "value": 91.0}, "GPU too hot at step 17,500 - my-run"),
    ({"kind": "disk_full_soon", "metric": "disk_free", "value": 5e9}, "disk nearly full at step 17,500 - my-run"),
    ({"kind": "frozen_metric", "metric": "eval_loss", "value": 0.5}, "eval loss stands still at step 17,500 - my-run"),
    ({"kind": "room_hot", "metric": "gpu0_c", "value": 91.0}, "room hot, gpu0_c 91 at step 17,500 - my-run"),
    ({"change": Change.RESOLVED, "step": 17600}, "resolved: loss spike +40.7 % at step 17,500 - my-run"),
    ({"change": Change.ESCALATED, "severity": Severity.CRITICAL}, "now critical: loss spike +40.7 % at step 17,500"),
    ({"change": Change.REMINDER, "severity": Severity.CRITICAL}, "still critical: loss spike +40.7 % at step 17,500"),
    ({"change": Change.SUMMARY}, "in trouble already: loss spike +40.7 % at step 17,500 - my-run"),
]


@pytest.mark.parametrize(("differs", "title"), TITLES)
def test_the_title_says_what_happened_and_where(differs: dict[str, object], title: str) -> None:
    assert render.title(facts(replace(SPIKE, **differs))).startswith(title)  # type: ignore[arg-type]


def test_the_body_says_all_that_one_needs_at_three_in_the_morning() -> None:
    text = body(kept=Kept("done", path=Path("/data/t/snapshots/a_1"), name="a_1", checkpoint_step=17400))
    for words in (
        "Loss is 0.873 at step 17,500; expected at most 0.807.",
        "Since step 17,500",
        "Last good step: 17,400",
        "accuracy 71.2 % (was 75.1 %)",
        "learning rate 2e-05",
        "Kept: /data/t/snapshots/a_1, checkpoint of step 17,400.",
        "Next in /data/t:",
        "smartmon snapshots restore a_1 DEST",
        "smartmon why my-run --step 17500",
        "id 1a2b3c4d5e6f7081",
    ):
        assert words in text


def test_a_sentence_without_the_expected_value_is_completed() -> None:
    assert "\nLoss 0.873, expected about 0.62.\n" in body(replace(SPIKE, message="loss jumped"))


SAID_ALREADY = [
    ({"value": 1.144, "expected": 1.055}, "loss drifts away: the mean is 1.16, 8 % above the best of 1.055"),
    ({"kind": "accuracy_drop", "metric": "accuracy", "value": 56.51, "expected": 89.79}, "56.5 %, the mean is 89.8 %"),
    ({"kind": "stalled", "metric": "step", "value": 300.0, "expected": 1.0}, "no new step for 5m 00s"),
    ({"kind": "throughput_drop", "metric": "steps_per_sec", "value": 0.44, "expected": 1.0}, "2.25 s a step"),
]


@pytest.mark.parametrize(("differs", "message"), SAID_ALREADY)
def test_what_the_sentence_says_is_not_said_again(differs: dict[str, object], message: str) -> None:
    assert ", expected about" not in body(replace(SPIKE, message=message, **differs))  # type: ignore[arg-type]


def test_a_sentence_has_words_where_a_log_has_names() -> None:
    text = body(replace(SPIKE, message="grad_norm stays high; set logging_nan_inf_filter=False"))
    assert text.startswith("Grad norm stays high; set logging_nan_inf_filter=False.")


def test_what_began_before_it_was_told_of_says_when_it_was_noticed() -> None:
    assert "Since step 17,490, noticed 20" in body(replace(SPIKE, start_step=17490))


@pytest.mark.parametrize("kind", ["disk_full_soon", "memory_low", "gpu_hot"])
def test_trouble_of_the_machine_sends_nobody_to_look_at_a_step(kind: str) -> None:
    change = replace(SPIKE, kind=kind, context={"next": "df -h /data"})
    assert body(change).splitlines()[-3:-1] == ["Next in /data/t:", "df -h /data"]
    assert "Next" not in body(replace(change, context={}))


def test_a_stall_that_is_over_says_once_how_long_it_lasted() -> None:
    over = replace(SPIKE, kind="stalled", change=Change.RESOLVED, at=NOW + 720, anomalies=2, message="no step")
    text = body(replace(over, resolution="moving again after 17m 00s"), opened_at=NOW)
    assert text.startswith("Moving again after 17m 00s. Nothing to do.\n")


def test_a_collapse_of_rewards_is_not_called_a_low_loss() -> None:
    labels, back = "broken labels", "go back to a checkpoint from before"
    assert labels in body(replace(SPIKE, kind="collapse"))
    text = body(replace(SPIKE, kind="collapse", metric="entropy"))
    assert back in text
    assert labels not in text


def test_gradients_alone_that_are_no_numbers_spoil_no_steps() -> None:
    assert "loss scaler" in body(replace(SPIKE, kind="nonfinite", metric="grad_norm", value=math.inf))
    assert "worth nothing" in body(replace(SPIKE, kind="nonfinite", value=math.nan))


KEPT = [
    (Kept("copying", note="copying checkpoint-17500 (4.1 GB)"), "Keeping: copying checkpoint-17500 (4.1 GB)."),
    (Kept("pending"), "waiting for the checkpoint"),
    (Kept("skipped", note="the disk is full"), "Nothing was kept: the disk is full."),
    (Kept("done", path=Path("/s/a"), name="a", has_checkpoint=False), "without a checkpoint"),
    (Kept("held"), "set aside"),
]


@pytest.mark.parametrize(("kept", "words"), KEPT)
def test_what_was_kept_is_told_in_words(kept: Kept, words: str) -> None:
    assert words in body(kept=kept)


def test_no_restore_is_offered_where_there_is_nothing_to_restore() -> None:
    assert "restore" not in body(kept=Kept("done", name="a", has_checkpoint=False))


def test_a_resolution_says_how_long_it_took_and_that_nothing_is_to_be_done() -> None:
    over = replace(SPIKE, change=Change.RESOLVED, at=NOW + 720, resolution="recovered after 12 steps", anomalies=3)
    message = render.message(facts(over, opened_at=NOW))
    assert "Recovered after 12 steps. It lasted 12m 00s. 3 anomalies in all. Nothing to do." in message.body
    assert message.severity == "success"
    assert "Next" not in message.body


def test_a_reminder_says_since_when() -> None:
    again = replace(SPIKE, change=Change.REMINDER, severity=Severity.CRITICAL, at=NOW + 14400)
    text = body(again, opened_at=NOW)
    assert "(4h 00m ago)" in text
    assert text.startswith("Critical. ")


def test_a_late_message_says_so_and_gives_the_original_time() -> None:
    assert body(now=NOW + 7200).startswith("This message is late by 2h 00m: it is from 20")
    assert "late" not in body(now=NOW + 60)


def test_what_the_rate_cap_held_is_counted() -> None:
    text = body(suppressed=("a", "b", "c", "d"))
    assert "4 more suppressed" in text
    assert "- d" in text


def test_the_link_is_there_where_the_dashboard_can_be_reached() -> None:
    assert body(run="a/b c", public_url="https://m.example/").count("https://m.example/#/run/a%2Fb%20c\n") == 1
    told = body(run="a/b c", public_url="https://m.example", incident_id=7)
    assert "https://m.example/#/run/a%2Fb%20c/incident/7\n" in told


@pytest.mark.parametrize(
    "context",
    [{"last_lines": ["Traceback", "CUDA out of memory"]}, {"error_message": "Traceback\nCUDA out of memory\n"}],
)
def test_a_crash_shows_its_last_lines(context: dict[str, object]) -> None:
    assert "> CUDA out of memory" in body(replace(SPIKE, kind="crashed", context=context))


def test_a_message_without_evidence_of_its_own_gives_the_newest_values() -> None:
    again = replace(SPIKE, change=Change.REMINDER, context={})
    assert "Now: loss 0.91, accuracy 60 %." in body(again, latest={"accuracy": 60.0, "loss": 0.91})


def test_trouble_that_began_before_it_was_noticed_says_both() -> None:
    assert "Since about step 17,320, noticed 2025-" in body(replace(SPIKE, onset_step=17320))


HOSTILE = [
    "",
    "\x00\x07",
    "\u202ekcatta",
    "@everyone <@&123> <!channel>",
    "[click](http://evil.example)",
    "x" * 200_000,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_a_run_writes_stays_plain_text(text: str) -> None:
    message = render.message(facts(replace(SPIKE, message=text), run=f"r{text}"))
    whole = message.title + message.body
    assert message.title
    assert message.body
    assert len(whole) < 8000
    assert not any(bad in whole for bad in ("@e", "@&", "<!c", "](", "\u202e", "\x00", "\x07"))


def test_a_run_name_cannot_become_a_command() -> None:
    assert "smartmon why 'a; rm -rf $HOME' --step 17500" in body(run="a; rm -rf $HOME")


def test_text_is_normalised() -> None:
    assert render.plain("e\u0301te\u0301\n  x") == "été x"


def test_a_digest_counts_and_lists_the_worst_first() -> None:
    items = [facts(run=f"run-{n}") for n in range(199)]
    items.append(facts(replace(SPIKE, kind="crashed", severity=Severity.CRITICAL), run="run-x"))
    message = render.digest(items)
    assert message.title.startswith("trouble in 200 runs: run-0, run-1, run-2")
    assert message.body.splitlines()[1] == "- training crashed at step 17,500 - run-x"
    assert "... and 180 more" in message.body
    assert message.severity == "critical"


def test_an_event_is_told_as_it_is() -> None:
    message = render.event(facts(), "run_finished", "my-run completed at step 20,000 of 20,000", 20000)
    assert message.title == "run finished at step 20,000 - my-run"
    assert message.severity == "success"


def test_the_context_of_an_anomaly_is_told_in_a_line_and_its_cause_in_another() -> None:
    told = {
        "around": ["grad norm rose from 0.9 to 14 (from step 17,490)", "epoch changed from 1 to 2 at step 17,480"],
        "cause": "The gradient norm rose 15.6 times at step 17,490, before the loss: bad data in that batch.",
        "next": "df -h /data",
    }
    lines = body(replace(SPIKE, context=SPIKE.context | told)).splitlines()
    (around,) = [line for line in lines if line.startswith("Around it: ")]
    assert around == (
        "Around it: grad norm rose from 0.9 to 14 (from step 17,490); epoch changed from 1 to 2 at step 17,480."
    )
    assert (
        "Likely cause: the gradient norm rose 15.6 times at step 17,490, before the loss: bad data in that batch."
        in (lines)
    )
    (meanwhile,) = [line for line in lines if line.startswith("Meanwhile: ")]
    assert "grad norm" not in meanwhile
    assert lines[lines.index("df -h /data") - 1].startswith("smartmon why")
    assert not any("pass by themselves" in line for line in lines)


def test_a_cause_that_begins_with_a_name_keeps_its_capitals() -> None:
    context = SPIKE.context | {"cause": "GPU 0 runs slower than it could: too hot."}
    assert "Likely cause: GPU 0 runs" in body(replace(SPIKE, context=context))
