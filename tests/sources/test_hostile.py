"""Files that nobody writes on purpose: no line of them may blind smartmon to the next, or hold it up."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from smartmon.sources.sniff import sniff
from smartmon.sources.text_dialects import DIALECTS
from tests.sources.text_samples import SAMPLES

DIGITS = "9" * 5000
"""More than Python makes an integer of."""
UNCOUNTABLE = (
    f"step:{DIGITS}/1390 train_loss:3.5 train_time:762ms",
    f" iteration {DIGITS}/ 100 | learning rate: 1e-4 | lm loss: 1.0 |",
    f"iter {DIGITS}: loss 2.5, time 123.00ms, mfu 41.20%",
    f"step {DIGITS}/00100 (7.00%) | loss: 2.1 | lrm: 1.00 |",
    f"s:{DIGITS} trl:3.4 lr:0.0001 norm:0.9",
    f"step {DIGITS}/19560 | loss 10.95 (+nanz)| norm 15.36 (+nanz)| lr 0.00e+00 | 3320.36 ms | 157900 tok/s",
    f"Step {DIGITS} | loss:1.2 lr:2e-05",
    f"step:{DIGITS} - actor/pg_loss:0.01 - critic/score/mean:0.5",
    f"Epoch {DIGITS}:  37%|###7      | 37/100 [00:05<00:09, 6.72it/s, loss=2.30]",
    f"{DIGITS}/{DIGITS} - 5s - 50ms/step - loss: 0.52",
    f"step: {DIGITS[:400]} loss: 0.5",
    f"  1%|x         | {DIGITS}/100 [00:01",
    f"  Num Epochs = {DIGITS}",
    "{'loss': 1.0, 'learning_rate': 1e-4, 'epoch': nan}",
)
ENDLESS = {
    "nanogpt": ("iter 1: loss 1, time 1ms", " "),
    "modded-nanogpt": ("step:1/2 train_loss:1 ", "a"),
    "torchtune": ("Step 1 | ", "a"),
    "llm.c": ("step 1/2 | loss 1 ", "1"),
}


@pytest.mark.parametrize("line", UNCOUNTABLE, ids=lambda line: line[:20].strip())
@pytest.mark.parametrize("name", SAMPLES)
def test_a_number_that_nobody_counts_to_costs_its_own_line_only(name: str, line: str, tmp_path: Path, reader):
    path = tmp_path / "train.log"
    text, _dialect, expected = SAMPLES[name]
    path.write_text(text, newline="")
    before = [row.step for row in reader(path, "text").read()]
    path.write_text(f"{text}{line}\n", newline="")
    after = [row.step for row in reader(path, "text").read()]
    assert [step for step, _ in expected] == before
    assert after[: len(before)] == before
    assert all(step < 2**53 for step in after)


def test_a_log_is_recognised_behind_such_a_line(tmp_path: Path):
    path = tmp_path / "train.log"
    text, _dialect, _expected = SAMPLES["nanogpt"]
    path.write_text("".join(f"{line}\n" for line in UNCOUNTABLE) + text)
    assert sniff(path) == "text"


@pytest.mark.parametrize("key", ENDLESS)
def test_no_line_takes_the_readers_of_trainers_more_than_a_moment(key: str):
    begin, unit = ENDLESS[key]
    line = (begin + unit * 16384)[:16384]
    begun = time.thread_time()
    DIALECTS[key]().line(line, 0)
    # It took seconds before the expressions were bounded, and takes hundredths now: a slow machine makes no difference.
    assert time.thread_time() - begun < 1.0


def test_digits_without_end_before_brackets_without_end_cost_one_state_only(tmp_path: Path, reader):
    row = '{"step": 1, "loss": 2.0}'
    folder = tmp_path / "checkpoint-1"
    folder.mkdir()
    deep = f'{{"step": 2, "x": {DIGITS}, "y": {"[" * 20000}{"]" * 20000}}}'
    (folder / "trainer_state.json").write_text(f'{{"global_step": 1, "log_history": [{row}, {deep}]}}')
    source = reader(tmp_path, "trainer_state")
    assert source.read(1e9) == source.read(1e9 + 10) == []
    assert [note.message.rpartition("json ")[2] for note in source.notes] == ["is nested deeper than 64 levels"]
