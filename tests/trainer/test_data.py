"""What a dataset's file may hold, what is said of it, and how it is split."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmon.demo import tiny
from smartmon.errors import DataError
from smartmon.trainer import reading
from smartmon.trainer.data import IGNORED, Corpus, Table, histogram, read_rows, split
from smartmon.trainer.spellings import BadRow, example

ASK, SAY = {"role": "user", "content": "What is 1 plus 2?"}, {"role": "assistant", "content": '{"sum": 3}'}
GOOD = {"messages": [ASK, SAY]}


@pytest.fixture(scope="module")
def loaded(tiny_model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture
def tokenizer(loaded: Any) -> Any:
    return copy.deepcopy(loaded)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data.jsonl"


def lines(*rows: Any) -> bytes:
    return b"".join(row + b"\n" if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows)


def read(file: Path, tokenizer: Any, data: bytes | None = None, **settings: Any) -> Corpus:
    if data is not None:
        file.write_bytes(data)
    return read_rows(file, tokenizer, **({"max_length": 256} | settings))


def answers(corpus: Corpus, tokenizer: Any) -> list[str]:
    return [tokenizer.decode([label for label in row.labels if label != IGNORED]) for row in corpus.rows]


@pytest.mark.parametrize(
    "row",
    [
        GOOD,
        {"messages": [{"role": "human", "content": [{"type": "text", "text": "What is"}, " 1 plus 2?"]}, SAY]},
        {"conversations": [{"from": "human", "value": "What is 1 plus 2?"}, {"from": "gpt", "value": '{"sum": 3}'}]},
        {"prompt": "What is 1 plus 2?", "completion": '{"sum": 3}'},
        {"prompt": [ASK], "completion": [SAY]},
        {"instruction": "What is", "input": "1 plus 2?", "output": '{"sum": 3}'},
        {"instruction": "What is 1 plus 2?", "input": "", "output": '{"sum": 3}', "text": "as one text"},
        {"messages": [ASK, SAY | {"content": '{"sum": 3}', "refusal": None}], "id": 7},
    ],
)
def test_the_spellings_that_people_have_are_known(file: Path, tokenizer: Any, row: dict[str, Any]):
    corpus = read(file, tokenizer, lines(row))
    assert answers(corpus, tokenizer) == ['{"sum": 3}<|im_end|>']
    assert corpus.rows[0].messages[-1] == SAY


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([1], "is a list, not an object"),
        ({}, "has no key at all; expected"),
        ({"question": "a", "answer": "b"}, 'has "question", "answer"; expected "messages"'),
        ({"messages": []}, 'empty list in "messages"'),
        ({"messages": "hello"}, 'has a string in "messages", not a list'),
        ({"messages": [ASK, "hello"]}, 'message 2 of "messages" is a string'),
        ({"messages": [{"content": "a"}]}, 'message 1 of "messages" has no "role"'),
        ({"messages": [{"role": "critic", "content": "a"}]}, "the role 'critic'; expected system, user"),
        ({"messages": [ASK, {"role": "assistant"}]}, 'has no "content"'),
        ({"messages": [ASK, {"role": "assistant", "content": " "}]}, r"\(assistant\) is empty"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}, SAY]}, r"no text \(image_url\)"),
        ({"messages": [{"role": "user", "content": 7}, SAY]}, 'has a number as "content"'),
        ({"prompt": "a"}, 'has a "prompt" and no "completion"'),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "a preference"),
        ({"prompt": "a", "completion": " "}, 'an empty "completion"'),
        ({"prompt": [ASK], "completion": "b"}, "in only one of"),
        ({"prompt": 7, "completion": "b"}, 'has a number in "prompt", not text'),
        ({"instruction": "a"}, 'no "output"'),
        ({"instruction": "", "output": "a"}, 'an empty "instruction"'),
        ({"text": None}, 'has null in "text"'),
        ({"text": "\n"}, 'an empty "text"'),
        ({"messages": [ASK, SAY], "tools": "all"}, '"tools" that are not a list'),
    ],
)
def test_what_is_wrong_with_a_row_is_said(row: Any, reason: str):
    with pytest.raises(BadRow, match=reason):
        example(row)


def test_bad_rows_are_named_by_file_and_line_and_skipped(file: Path, tokenizer: Any):
    data = lines(GOOD, b"", b'{"messages": [', b'{"text": "caf\xe9"}', b'{"text": "\\ud83d"}', {"a": 1}, GOOD)
    corpus = read(file, tokenizer, data)
    assert [problem.line for problem in corpus.problems] == [3, 4, 5, 6]
    assert [str(problem).removeprefix(f"{file}:")[:41] for problem in corpus.problems[:3]] == [
        "3: is not JSON: Expecting value at column",
        "4: is not UTF-8: byte 0xe9 at column 14",
        "5: holds half of a surrogate pair",
    ]
    assert [row.line for row in corpus.rows] == [1, 7]
    assert f"bad row   {file}:3: is not JSON" in "\n".join(corpus.summary())


def test_a_strict_reading_refuses_bad_rows_and_lists_the_first_ten(file: Path, tokenizer: Any):
    with pytest.raises(DataError) as refused:
        read(file, tokenizer, lines(*[{"a": 1}] * 14, GOOD), strict=True)
    said = str(refused.value)
    assert "14 of 15 rows are bad" in said
    assert (said.count("data.jsonl:"), said.splitlines()[-1]) == (10, "  and 4 more")
    assert DataError.exit_code == 21


def test_a_file_of_bad_rows_alone_is_refused(file: Path, tokenizer: Any):
    with pytest.raises(DataError, match=r"every row is bad\n.*:1: is not JSON"):
        read(file, tokenizer, b"question,answer\n1,2\n")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"\n\n", "holds no rows"),
        (b"[]", "holds no rows"),
        (b"PAR1\0\0\0", "is a Parquet file; write it as JSON Lines"),
        (b"\x89PNG\0", "is a binary file"),
        ('{"text": "a"}'.encode("utf-16"), "is UTF-16 text"),
        (b'[{"text": "a"},\n{"text":]', "one JSON array that is not JSON: .* in line 2"),
        (b'[{"text": "\xe9"}]', r"is not UTF-8 text \(byte 11\)"),
        (b"\x1f\x8b\x08\x00broken", "cannot be read: "),
    ],
)
def test_a_file_without_rows_is_an_error_in_one_sentence(file: Path, tokenizer: Any, data: bytes, said: str):
    with pytest.raises(DataError, match=said) as refused:
        read(file, tokenizer, data)
    assert "\n" not in str(refused.value)


def test_what_is_no_file_of_rows_is_named(tmp_path: Path, tokenizer: Any):
    (tmp_path / "train.jsonl").touch()
    table = tmp_path / "train.csv"
    table.write_text("question,answer\n")
    with pytest.raises(DataError, match="there is no dataset at"):
        read(tmp_path / "nope", tokenizer)
    with pytest.raises(DataError, match=r"is a directory; name a file of JSON Lines in it, such as train\.jsonl"):
        read(tmp_path, tokenizer)
    with pytest.raises(DataError, match="is a table of text"):
        read(table, tokenizer)


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + lines(GOOD, GOOD),
        lines(GOOD, GOOD).replace(b"\n", b"\r\n\r\n"),
        lines(GOOD, GOOD).rstrip(),
        b"\n [" + lines(GOOD).strip() + b" ,\n" + lines(GOOD) + b"]\n",
        gzip.compress(lines(GOOD, GOOD)),
        lines(b'{"messages": [], "messages": ' + json.dumps([ASK, SAY]).encode() + b"}", GOOD),
    ],
    ids=["byte order mark", "CRLF", "no last line end", "array", "gzip", "duplicate key"],
)
def test_files_come_in_many_forms(file: Path, tokenizer: Any, data: bytes):
    corpus = read(file, tokenizer, data)
    assert answers(corpus, tokenizer) == ['{"sum": 3}<|im_end|>'] * 2
    assert [row.messages for row in corpus.rows] == [(ASK, SAY)] * 2


def test_an_enormous_line_is_skipped_and_the_next_is_read(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "MAX_LINE", 100)
    file.write_bytes(b'{"text": "' + b"a" * 5_000_000 + b'"}\n' + lines({"text": "b"}))
    found = list(reading.read_values(file))
    assert [(row.line, row.value, row.reason) for row in found] == [
        (1, None, "is longer than 100 B"),
        (2, {"text": "b"}, ""),
    ]


def test_a_conversation_is_shown_as_the_model_sees_it(file: Path, tokenizer: Any):
    corpus = read(file, tokenizer, lines(GOOD), system_prompt="In JSON.")
    assert corpus.rows[0].messages == ({"role": "system", "content": "In JSON."}, ASK, SAY)


def test_a_file_that_changed_gives_no_conversation_and_the_same_tokens(file: Path, tokenizer: Any):
    corpus = read(file, tokenizer, lines(GOOD))
    before = corpus.rows[0]
    file.write_bytes(lines({"text": "something else"}))
    assert corpus.rows[0].messages == ()
    assert corpus.rows[0].input_ids == before.input_ids
    file.unlink()
    assert corpus.rows[0].labels == before.labels


def test_long_rows_are_cut_and_counted(file: Path, tokenizer: Any):
    long = {"messages": [ASK, SAY, *[ASK, SAY] * 20]}
    corpus = read(file, tokenizer, lines(GOOD, long), max_length=40)
    assert (corpus.cut, max(corpus.rows.lengths())) == (1, 40)
    assert len(corpus.rows[1].labels) == 40
    assert "; 1 cut to that" in corpus.summary()[2]


def test_rows_without_anything_to_learn_are_dropped_and_counted(file: Path, tokenizer: Any):
    late = {"messages": [ASK | {"content": "a b " * 100}, SAY]}
    corpus = read(file, tokenizer, lines(*[GOOD] * 18, {"messages": [ASK]}, late), max_length=40)
    assert (len(corpus.rows), corpus.total, corpus.bad) == (18, 20, 0)
    assert corpus.summary()[:3] == [
        "rows      18 of 20",
        "left out  1 without an answer of the assistant",
        "left out  1 cut off before the answer",
    ]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([GOOD, {"messages": [ASK]}], "would lose 1 of 2 rows: 1 without an answer .*; check the roles.*--all-tokens"),
        ([GOOD, {"messages": [ASK | {"content": "a b " * 100}, SAY]}], r"--max-length"),
        ([{"messages": [ASK]}], "would lose 1 of 1 rows"),
    ],
)
def test_a_dataset_that_would_lose_too_much_is_refused(file: Path, tokenizer: Any, rows: list[Any], said: str):
    with pytest.raises(DataError, match=said):
        read(file, tokenizer, lines(*rows), max_length=40)


def test_a_template_that_hides_the_answers_is_refused_with_a_way_out(file: Path, tokenizer: Any):
    tokenizer.chat_template = "{% for m in messages | reverse %}{{ m['content'] }}{% endfor %}{{ messages | length }}"
    with pytest.raises(DataError, match=r"does not show in one piece; mark the answer with \{% generation %\}"):
        read(file, tokenizer, lines(GOOD))


def test_the_first_token_is_never_a_label(file: Path, tokenizer: Any):
    corpus = read(file, tokenizer, lines({"text": "one text"}, GOOD), assistant_only=False)
    assert [row.labels[0] for row in corpus.rows] == [IGNORED, IGNORED]
    assert all(row.labels[1:] == row.input_ids[1:] for row in corpus.rows)


def test_a_summary_fits_a_terminal(file: Path, tokenizer: Any):
    tiny.write_dataset(file, 300)
    summary = read(file, tokenizer).summary()
    assert max(map(len, summary)) <= 80
    assert summary[0] == "rows      300"


def test_a_histogram_shows_where_the_rows_are():
    assert histogram([10] * 8 + [99], bins=10) == "0  █       ▁ 99 tokens"


def test_reading_tells_how_far_it_is(file: Path, tokenizer: Any):
    seen: list[int] = []
    read(file, tokenizer, lines(*[GOOD] * 600), progress=seen.append)
    assert seen == [512, 600]


def table(*rows: list[int]) -> Table:
    made = Table()
    for line, ids in enumerate(rows, 1):
        made.add(ids, [(0, len(ids))], line)
    return made


rows_of_few = st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=3), min_size=1, max_size=40)


@given(rows_of_few, st.floats(0, 0.99), st.integers(0, 2**32))
def test_a_split_is_a_partition_that_leaks_no_row(rows: list[list[int]], fraction: float, seed: int):
    train, evaluation = split(table(*rows), fraction, seed)
    assert sorted(row.line for part in (train, evaluation) for row in part) == list(range(1, len(rows) + 1))
    assert not {row.input_ids for row in train} & {row.input_ids for row in evaluation}
    assert len(train) > 0
    distinct = len({tuple(row) for row in rows})
    assert (len(evaluation) > 0) == (fraction > 0 and distinct > 1)


@given(rows_of_few, st.integers(0, 9))
def test_a_split_goes_by_what_rows_hold_and_not_by_where_they_stand(rows: list[list[int]], seed: int):
    one, other = split(table(*rows), 0.2, seed), split(table(*reversed(rows)), 0.2, seed)
    assert sorted(row.input_ids for row in one[1]) == sorted(row.input_ids for row in other[1])


def test_a_split_takes_the_share_it_is_asked_for():
    rows = table(*([number, number] for number in range(200)))
    train, evaluation = split(rows, 0.05, 1)
    assert (len(train), len(evaluation)) == (190, 10)
    assert {row.line for row in evaluation} != {row.line for row in split(rows, 0.05, 2)[1]}


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=9), min_size=1, max_size=9), st.data())
def test_a_table_gives_back_the_rows_that_it_was_given(rows: list[list[int]], data: st.DataObject):
    made = table(*rows)
    places = data.draw(st.lists(st.integers(0, len(rows) - 1)))
    part = made.select(places)
    assert [list(row.input_ids) for row in part] == [rows[place] for place in places]
    assert [list(row.labels) for row in made] == [[IGNORED, *row[1:]] for row in rows]
    assert part.trained() == sum(len(rows[place]) - 1 for place in places)
    assert [row.line for row in made[1:]] == list(range(2, len(rows) + 1))
