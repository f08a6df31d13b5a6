"""The log of a run, as /api/log tells it: from its end, from its beginning, and searched whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from smartmon.notify.redact import MASK
from smartmon.store import RunRow, Store
from smartmon.web.views import log
from smartmon.web.views.log import Ask, kind

KINDS = [
    ("***** Running training *****", "start"),
    ("  Num examples = 500", "text"),
    (" 82%|### | 99/120 [00:10<1:20:10, 2.01it/s]{'loss': '0.27', 'grad_norm': '1.2'}", "step"),
    ("iter 12: loss 2.5000, time 123.00ms, mfu 41.20%", "step"),
    ("step 250: train loss 2.1, val loss 2.2", "evaluation"),
    ("{'eval_loss': '0.3761', 'epoch': '2.48'}", "evaluation"),
    ("Saving model checkpoint to out/checkpoint-500", "checkpoint"),
    ("Loading checkpoint shards: 100%", "text"),
    ("`use_cache=True` is incompatible with gradient checkpointing", "text"),
    ("/lib/torch/utils/checkpoint.py:295: FutureWarning: use_reentrant", "warning"),
    ("{'mean_squared_error': 0.1}", "text"),
    ("torch.OutOfMemoryError: CUDA out of memory", "error"),
    ("ValueError: no", "error"),
    ("ran 0 errors, 3 warnings", "text"),
    ("{'train_runtime': '3600', 'train_loss': '1.2'}", "end"),
]


@pytest.mark.parametrize(("line", "expected"), KINDS)
def test_a_line_is_of_the_kind_that_it_is_about(line: str, expected: str) -> None:
    assert kind(line) == expected


@pytest.fixture
def printed(tmp_path: Path) -> Iterator[tuple[Store, RunRow, Path]]:
    """A run that printed three megabytes."""
    run = tmp_path / "base" / "r"
    (run / "logs").mkdir(parents=True)
    path = run / "logs" / "output.log"
    lines = [f"step {step:06d} {'needle' if step % 30_000 == 0 else 'hay'}" for step in range(180_001)]
    lines[5] += " --api-key wJalrXUtnFEMI"
    path.write_text("\x1b[31mbegun\x1b[0m\n" + "\n".join(lines) + "\n")
    with Store.open(tmp_path / "s.db") as store:
        yield store, store.ensure_run("r", run, run.parent, 1.0), path


def test_the_whole_log_is_searched_from_its_end(printed: tuple[Store, RunRow, Path]) -> None:
    store, row, _ = printed
    found = log.log(store, row, Ask(find="NEEDLE step", limit=4))
    assert [line.text[:11] for line in found.lines] == [f"step {step:06d}" for step in range(90_000, 180_001, 30_000)]
    before = log.log(store, row, Ask(find="needle", limit=4, before=found.before))
    assert [line.text[:11] for line in before.lines] == [f"step {step:06d}" for step in (0, 30_000, 60_000)]
    assert before.before is None


def test_what_is_masked_in_a_log_is_not_found_in_it(printed: tuple[Store, RunRow, Path]) -> None:
    store, row, _ = printed
    assert [line.text[:11] for line in log.log(store, row, Ask(find="api-key")).lines] == ["step 000005"]
    assert log.log(store, row, Ask(find="wJalr")).lines == []


def test_a_log_is_read_from_its_beginning_without_gap_or_repetition(printed: tuple[Store, RunRow, Path]) -> None:
    store, row, path = printed
    texts, place = [], 0
    while place is not None:
        page = log.log(store, row, Ask(after=place, limit=2000))
        texts += [line.text for line in page.lines]
        place = page.after if len(texts) < 6000 else None
    printed_lines = path.read_text().replace("wJalrXUtnFEMI", MASK).splitlines()
    assert texts == ["begun", *printed_lines[1:6000]]
    assert log.log(store, row, Ask(after=path.stat().st_size)).lines == []
