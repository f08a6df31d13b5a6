from __future__ import annotations

import json
import math
import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smartmon.linepattern import check_pattern
from smartmon.records import Observation, RunState, Severity
from smartmon.sources.base import SourceSpec
from smartmon.sources.textlog import TextLog, recognises
from tests.sources.text_samples import HF4, MEGATRON, NANOGPT, SAMPLES, hugging_face

NOW = 2_000_000_000.0
TRACEBACK = """\
Traceback (most recent call last):
  File "/train.py", line 10, in main
    loss.backward()
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "train.log"


@pytest.fixture
def log(path: Path, reader):
    def make(text: str, **options):
        path.write_text(text, newline="")
        return reader(path, "text", **options)

    return make


def seen(rows: list[Observation]) -> list[tuple[int, str]]:
    """Rows without their times, NaN comparable."""
    return [(row.step, json.dumps(dict(row.values), sort_keys=True)) for row in rows]


@pytest.mark.parametrize("name", SAMPLES)
def test_every_trainer_is_read_as_it_prints(name: str, log):
    text, dialect, expected = SAMPLES[name]
    source = log(text)
    rows = source.read()
    assert [row.step for row in rows] == [step for step, _ in expected]
    for row, (_, values) in zip(rows, expected):
        assert {key: row.values.get(key) for key in values} == pytest.approx(values, nan_ok=True)
    assert source.source.account.dialect == dialect
    assert source.notes == []


@pytest.mark.parametrize("name", SAMPLES)
def test_every_dialect_is_recognised_behind_thousands_of_other_lines(name: str, path: Path):
    text, dialect, _ = SAMPLES[name]
    banner = "".join(f"NCCL INFO Channel {n:02}/16 : 0 1 2 3 losses none, step into it\n" for n in range(3000))
    if dialect in ("lines with a step and a loss", "progress bars (tqdm)"):
        text = text * 3 + text.replace("1", "2") * 3  # those must be steady before they are believed
    assert dialect in recognises((banner + text).encode(), path)


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_rows_do_not_depend_on_how_the_file_grew(name: str, tmp_path: Path, reader, seed: int):
    data = (SAMPLES[name][0] + TRACEBACK + SAMPLES[name][0]).encode()
    whole, grown = tmp_path / f"{seed}.log", tmp_path / f"{seed}.grown.log"
    whole.write_bytes(data)
    at_once = reader(whole, "text")
    expected, cuts = seen(at_once.read(whole.stat().st_mtime)), random.Random(seed)
    pieces = reader(grown, "text")
    rows, begin = [], 0
    while begin < len(data):
        end = begin + cuts.choice([1, 7, 60, 400, 5000])
        with grown.open("ab") as file:
            file.write(data[begin:end])
        rows += pieces.read(grown.stat().st_mtime)
        pieces.restart()
        begin = end
    assert seen(rows) == expected
    assert [note.message for note in pieces.notes] == [note.message for note in at_once.notes]


def test_the_exact_step_is_that_of_the_bar_drawn_after_the_dict(log):
    """Fast steps: the bar before a dict lags behind, by as much as tqdm saves on drawing."""
    source = log(hugging_face([(n, f"{{'loss': 2.0, 'epoch': {n / 100}}}") for n in range(10, 100, 10)]))
    assert [row.step for row in source.read()] == list(range(10, 100, 10))


def test_dicts_that_a_buffer_held_back_are_spread_over_the_steps(log):
    """Without PYTHONUNBUFFERED stdout comes in blocks that end within a dict, and bars are drawn into it."""
    dicts = "".join(f"{{'loss': 2.0, 'learning_rate': 2e-05, 'epoch': {n / 100:.2f}}}\n" for n in range(5, 301, 5))
    bars = [
        "".join(f"\r {n}%|#  | {n}/300 [00:01<00:09,  9.8it/s]" for n in part) for part in (range(103), range(103, 301))
    ]
    cut = dicts.index("{'loss'", 1000) + 20
    source = log(bars[0] + dicts[:cut] + bars[1] + dicts[cut:] + "\r100%|###| 300/300 [00:30<00:00,  9.8it/s]\n")
    rows = source.read()
    assert len(rows) == 60
    steps = [row.step for row in rows]
    assert steps == sorted(set(steps))
    assert max(abs(step - true) for step, true in zip(steps, range(5, 301, 5))) <= 100
    assert steps[-1] <= 300


def test_a_dict_without_bars_counts_by_the_totals_that_were_told_else_by_its_place(log):
    dicts = "".join(f"{{'loss': 2.0, 'learning_rate': 2e-05, 'epoch': {n}}}\n" for n in (0.5, 1.0, 1.5))
    assert [row.step for row in log(dicts).read()] == [0, 1, 2]
    banner = "***** Running training *****\n  Num Epochs = 3\n  Total optimization steps = 1,500\n"
    assert [row.step for row in log(banner + dicts).read()] == [250, 500, 750]


def test_a_dict_that_names_its_step_is_believed(log):
    line = "{'loss': 2.0, 'epoch': 0.1, 'global_step/max_steps': '37/1000', 'elapsed_time': '1m 2s'}\n"
    (row,) = log(line).read()
    assert (row.step, row.values["total_steps"]) == (37, 1000.0)


def test_a_dict_waits_a_minute_for_its_bar_and_no_longer(path: Path, log):
    source = log("\r 9%|#  | 9/100 [00:01<00:09,  9.8it/s]\r\n{'loss': 2.0, 'epoch': 0.1}\n")
    os.utime(path, (NOW, NOW))
    assert source.read(NOW) == []
    before = source.source.stamp()
    assert source.source.stamp() != before
    assert [row.step for row in source.read(NOW + 61)] == [9]


def test_the_final_summary_is_an_end_and_no_point(log):
    source = log(HF4 + "{'train_runtime': 12.5, 'train_loss': 2.1, 'epoch': 1.0}\n100%|###| 100/100 [00:10<00:00]\n")
    assert len(source.read()) == 3
    assert source.status is not None
    assert (source.status.state, source.status.step) == (RunState.COMPLETED, 20)


def test_two_runs_in_one_file_go_back_to_the_second_ones_bar(log):
    first = hugging_face([(n, "{'loss': 2.0, 'epoch': 0.1}") for n in range(10, 60, 10)], total=100)
    second = hugging_face([(n, "{'loss': 1.0, 'epoch': 0.1}") for n in range(10, 60, 10)], total=77)
    rows = log(first + second).read()
    assert [row.step for row in rows][:6] == [10, 20, 30, 40, 50, 10]
    assert rows[-1].values["total_steps"] == 77.0


def megatron(step: int, *terms: str) -> str:
    return f" iteration {step:8d}/ 1000 | learning rate: 1.0E-04 | {' | '.join(terms)} |\n"


@pytest.mark.parametrize(
    ("terms", "loss"),
    [
        (["number of skipped iterations:   0", "number of nan iterations:   0"], math.nan),
        (["number of skipped iterations:   1", "number of nan iterations:   1"], math.nan),
        (["number of skipped iterations:   1", "number of nan iterations:   0"], None),
        (["lm loss: 0.000000E+00", "number of skipped iterations:   1"], None),
        (["grad norm: 1.0"], math.nan),
        (["lm-loss: 2.5"], 2.5),
    ],
)
def test_a_loss_that_vanished_is_nan_unless_all_iterations_were_skipped(terms: list[str], loss: float | None, log):
    rows = log(megatron(1, "lm loss: 2.0E+00") + megatron(2, *terms)).read()
    assert rows[1].values.get("loss") == (loss if loss is None else pytest.approx(loss, nan_ok=True))


def test_a_first_line_without_a_loss_is_not_nan(log):
    assert "loss" not in log(megatron(1, "grad norm: 1.0", "number of nan iterations:   0")).read()[0].values


def test_a_bar_that_never_ends_its_line_is_read_as_it_is_drawn(path: Path, log):
    source = log("".join(f"\r{n}/100000 [00:01<00:09, 9.8it/s, loss={2 + n:.3f}]" for n in range(30000)))
    assert path.stat().st_size > 1 << 20
    assert [row.step for row in source.read()] == list(range(29999))
    with path.open("a") as file:
        file.write("\r30000/100000 [00:01<00:09, 9.8it/s, loss=1]")
    assert [row.step for row in source.read()] == [29999]


def test_two_writers_that_tear_each_others_lines_cost_only_those(log):
    torn = "iter 20: loss 2.0, iter 21: loss\nstep 5: train loss\n{'loss': 2.0, 'ep\n}\n"
    rows = log(NANOGPT + torn + NANOGPT).read()
    assert [row.step for row in rows if "time_ms" in row.values] == [0, 10, 0, 10]


def test_a_specific_dialect_takes_over_from_a_guess(log):
    source = log("epoch 1 batch 3 loss: 2.0\n" + MEGATRON)
    assert [row.step for row in source.read()] == [3, 10, 20, 20]
    assert source.source.account.dialect == "Megatron-LM"


def test_one_stray_line_does_not_change_a_proven_dialect(log):
    source = log(NANOGPT + "{'loss': 2.0, 'epoch': 0.5}\nstep=3 loss=1.0\n" + NANOGPT)
    assert len(source.read()) == 6
    assert source.source.account.dialect == "nanoGPT"


def test_bad_bytes_colours_and_holes_are_passed_over(path: Path, reader):
    path.write_bytes(b"\0" * 500 + b"\xff\xfe\x1b[32miter 10: loss 2.5, time 1.0ms\x1b[0m\r\n")
    assert [row.values["loss"] for row in reader(path, "text").read()] == [2.5]


def test_times_at_line_starts_are_the_rows_own(path: Path, log):
    source = log("2026-11-21T07:38:01.5Z INFO step=1 loss=2.0\n2026-11-21 07:38:03,250+00:00 step=2 loss=2.0\n")
    assert [(row.at, row.timed) for row in source.read()] == [(1795246681.5, True), (1795246683.25, True)]


def test_a_line_newer_than_its_file_is_dated_by_the_file(path: Path, log):
    source = log("2026-11-21T07:38:01Z step=1 loss=2.0\n")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    (row,) = source.read()
    assert (row.at, row.timed) == (1_700_000_000, False)


@pytest.mark.parametrize("hours", [-5, 2, 5.5])
def test_a_container_in_another_zone_does_not_shift_the_run(hours: float, path: Path, log):
    at = 1_790_000_000.0
    from datetime import datetime

    printed = datetime.fromtimestamp(at - hours * 3600).isoformat(sep=" ")  # noqa: DTZ006
    source = log(f"{printed} step=1 loss=2.0\n")
    os.utime(path, (at + 1, at + 1))
    assert [row.at for row in source.read(at + 5)] == [at]


def test_the_end_is_told_once_for_all_ranks_with_a_bounded_traceback(log):
    ranks = "".join(
        f"[rank{n}]: {line}\n" for n in range(8) for line in TRACEBACK.replace("2.00", f"{n}.50").splitlines()
    )
    source = log(NANOGPT + ranks)
    source.read()
    (note,) = source.notes
    assert (note.kind, note.severity) == ("warning", Severity.WARNING)
    assert note.message == (
        "the trainer printed torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 0.50 GiB."
    )
    assert note.data["traceback"].startswith("Traceback (most recent call last):\n  File")
    assert source.status is None


def test_a_deep_traceback_keeps_its_last_calls(log):
    deep = "".join(f'  File "/a.py", line {n}, in f\n    {"x" * 200}\n' for n in range(150))
    source = log(f"Traceback (most recent call last):\n{deep}ValueError: no\n")
    source.read()
    assert len(source.notes[0].data["traceback"]) <= 8000
    assert "line 149" in source.notes[0].data["traceback"]


@pytest.mark.parametrize(
    ("line", "message", "severity"),
    [
        ("Killed", "the trainer printed Killed", Severity.WARNING),
        ("run.sh: line 3: 12345 Killed   python train.py", "line 3: 12345 Killed", Severity.WARNING),
        ("Segmentation fault (core dumped)", "Segmentation fault", Severity.WARNING),
        ("RuntimeError: NCCL timeout", "RuntimeError: NCCL timeout", Severity.WARNING),
        ("Traceback (most recent call last):\n  x\nKeyboardInterrupt", "printed KeyboardInterrupt", Severity.INFO),
    ],
)
def test_last_words_become_a_note(line: str, message: str, severity: Severity, log):
    source = log(NANOGPT + line + "\n")
    source.read()
    assert [note.severity for note in source.notes] == [severity]
    assert message in source.notes[0].message


def test_the_same_error_in_another_attempt_is_told_again(log):
    source = log(NANOGPT + TRACEBACK + TRACEBACK + NANOGPT + TRACEBACK)
    source.read()
    assert len(source.notes) == 2


def test_a_rewritten_file_is_another_log(path: Path, log):
    source = log(NANOGPT * 3)
    source.read()
    path.write_text(MEGATRON)
    assert [row.step for row in source.read()] == [10, 20, 20]
    assert source.notes[0].kind == "source_truncated"
    assert source.source.account.dialect == "Megatron-LM"


def test_what_was_left_out_is_accounted_for(log):
    source = log("hello\nworld\n" + NANOGPT)
    source.read()
    account = source.source.account
    assert account.ignored["lines without metrics"] == (3, "hello")
    assert (account.rows, account.metrics["val_loss"], account.metrics["loss"]) == (3, "eval_loss", "loss")


PATTERN = r"it (?P<step>\d+) of (?P<total_steps>\d+) .*? err (?P<loss>\S+)"


def test_anyones_lines_are_read_by_a_pattern(log):
    text = "it 5 of 100 - err 2.5, fine\nnothing\nit 6 of 100 - err nan\nvalidated: 2.25\n"
    rows = log(text, pattern=[PATTERN, r"validated: (?P<val_loss>\S+)"]).read()
    assert [(row.step, dict(row.values)) for row in rows[::2]] == [
        (5, {"loss": 2.5, "total_steps": 100.0}),
        (6, {"eval_loss": 2.25}),
    ]
    assert math.isnan(rows[1].values["loss"])


def test_a_pattern_without_a_step_counts_its_lines(log):
    rows = log("cost 3\ncost 2\n", pattern=r"cost (?P<loss>\S+)").read()
    assert [(row.step, row.values["loss"]) for row in rows] == [(0, 3.0), (1, 2.0)]


def test_a_patterns_timestamp_is_the_rows_time(log):
    (row,) = log("1790000000.5 n=4 l=2\n", pattern=r"(?P<timestamp>\S+) n=(?P<step>\d+) l=(?P<loss>\S+)").read()
    assert (row.at, row.timed) == (1790000000.5, True)


@pytest.mark.parametrize("pattern", [r"(?P<loss>(.*)x(.*)x(.*)x(.*)x(.*)x(.*)y)", r"(?P<loss>a?.*a?.*a?.*a?.*a?.*=$)"])
def test_a_pattern_that_takes_too_long_rests_with_a_note(pattern: str, log):
    source = log("x " * 130 + "\n" + "x" * 3000 + "\n", pattern=pattern)
    source.read()
    assert ["takes too long" in note.message for note in source.notes] == [True]
    assert source.read() == []
    assert len(source.notes) == 1


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("(", "is no regular expression"),
        (r"loss (\S+)", "no named group"),
        (r"(?P<loss>(a+)+)x", "repeats a group"),
        (r"(?P<loss>(?:\w*\s?)*)x", "repeats a group"),
        (r"(?P<loss>x)(?:a|ab)*", "repeats a group"),
        (r"(?P<loss>x)" + "y" * 2000, "longer than"),
    ],
)
def test_a_bad_pattern_is_refused_in_words(pattern: str, problem: str, tmp_path: Path):
    with pytest.raises(ValueError, match=problem):
        check_pattern(pattern)
    with pytest.raises(ValueError, match=problem):
        TextLog(SourceSpec("x", "text", tmp_path / "x", options={"pattern": pattern}))


@pytest.mark.parametrize("pattern", [PATTERN, r"(?:ab)+ (?P<x>[(+*)]+)\(+", r"(?P<a>\d+)(?: \w+)? (?P<b>\S+)"])
def test_an_ordinary_pattern_is_taken(pattern: str):
    assert check_pattern(pattern) == pattern


ORDINARY = {
    "syslog": "Nov 21 07:38:01 host systemd[1]: Started Session 3 of user root, loss of carrier 2.\n" * 40,
    "pip.log": "Collecting torch==2.9\n  Downloading torch-2.9 (755.5 MB)\n   1/3 [00:01<00:02, 3.1MB/s]\n" * 40,
    "train.jsonl": '{"step": 1, "loss": 2.5}\n{"step": 2, "loss": 2.4}\n' * 20,
    "log.txt": '{"step": 1, "loss": 2.5}\n{"step": 2, "loss": 2.4}\n' * 20,
    "metrics.txt": "epoch,step,loss\n1,10,2.5\n1,20,2.4\n" * 20,
    "train.py": 'print(f"iter {i}: loss {loss:.4f}, time {dt}ms")\n# iter 0: loss 10.97, time 31264ms, mfu 1%\n' * 20,
    "loop.txt": 'print(f"step {step} loss: {loss}")\nstep = 3\nloss = loss_fn(x, 2)\nfor step in range(10): loss = 0\n'
    * 20,
    "README.md": "```\nstep 0: train loss 4.3, val loss 4.2\niter 0: loss 4.3, time 200ms\n```\n" * 5,
    "notes.txt": "We train for 3 epochs. The loss was about 2.5 after step 100, which is good.\n" * 3,
    "nccl.log": "NCCL INFO Channel 00/16 : 0 1 2 3\nNCCL INFO comm 0x55 rank 0 nranks 8\n" * 40,
    "requirements.txt": "torch==2.9\nlossless>=1.0\nstep-functions==3\n",
    "smartmon.log": (
        "2026-11-21T07:38:01Z [info     ] incident.opened                run=a kind=loss_spike step=100 metric=loss\n"
        "2026-11-21T07:38:02Z [warning  ] anomaly.found run=a step=200 reason=loss_spike_40.7pct value=2.5\n"
    )
    * 20,
    "empty.log": "",
}


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_file_is_not_taken_for_a_trainers_log(name: str):
    assert recognises(ORDINARY[name].encode(), Path(name)) == ""


FRAGMENTS = ["{'loss': ", "'epoch': nan}", "iteration 1/ 2 | lm loss: ", "step:1/2 train_loss:", "\r", "\n", "{'", "}"]
FRAGMENTS += ["%|", " 5/9 [", "loss=1]", "Traceback (most recent call last):\n", "Epoch 1/3\n", "10/10 - loss: ", "nan"]
FRAGMENTS += ["1e999", "step 99999999999999999999 loss: 1\n", "iter 5: loss 1, time 0ms\n", "2026-99-99 10:00:00 "]
FRAGMENTS += [
    "s:1 tel:x",
    "Step 1 | loss:",
    "step:3 - a/b:",
    "Num Epochs = 0\nTotal steps = 5\n",
    "epoch inf loss: 2\n",
]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_content_breaks_the_reader(tmp_path: Path, data: st.DataObject):
    parts = data.draw(st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=5), max_size=40))
    path = tmp_path / "x.log"
    path.write_bytes("".join(parts).encode("utf-8", "surrogatepass"))
    recognises(path.read_bytes(), path)
    source, cursor = TextLog(SourceSpec("x", "text", path)), None
    for seconds in (0, 90):
        batch = source.read(cursor, NOW + seconds)
        cursor = json.loads(json.dumps(dict(batch.cursor), allow_nan=False))
        for row in batch.observations:
            assert 0 <= row.step < 2**53
            assert all(isinstance(value, float) and key.encode() for key, value in row.values.items())
        for note in batch.notes:
            assert json.dumps([note.message, dict(note.data)], ensure_ascii=False, allow_nan=False).encode()
