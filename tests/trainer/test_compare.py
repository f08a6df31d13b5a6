"""Two answers side by side, token by token."""

from __future__ import annotations

import pytest

from smartmon.trainer.compare import compare, exact


def verdicts(golden: list[int], predicted: list[int], *, ended: bool = True) -> list[str]:
    texts = [str(token) for token in golden], [str(token) for token in predicted]
    return [token["verdict"] for token in compare(golden, predicted, *texts, ended=ended)["tokens"]]


@pytest.mark.parametrize(
    ("golden", "predicted", "expected"),
    [
        ([1, 2], [1, 2], ["match", "match"]),
        ([1, 2], [1, 3], ["match", "mismatch"]),
        ([1, 2, 3], [1], ["match", "missing", "missing"]),
        ([1], [1, 2], ["match", "extra"]),
        ([], [], []),
    ],
)
def test_each_place_has_a_verdict(golden: list[int], predicted: list[int], expected: list[str]) -> None:
    assert verdicts(golden, predicted) == expected


def test_what_was_not_asked_for_yet_is_not_missing() -> None:
    assert verdicts([1, 2, 3], [1], ended=False) == ["match"]


def test_a_token_that_is_not_there_has_neither_id_nor_text() -> None:
    found = compare([7, 8], [7], ["a", "b"], ["a"], ended=True)
    assert found["tokens"] == [
        {"golden_id": 7, "golden": "a", "predicted_id": 7, "predicted": "a", "verdict": "match"},
        {"golden_id": 8, "golden": "b", "predicted_id": None, "predicted": None, "verdict": "missing"},
    ]
    assert (found["matches"], found["total"], found["accuracy"]) == (1, 2, 50.0)


def test_of_nothing_there_is_no_accuracy() -> None:
    assert compare([1], [], ["a"], [], ended=False)["accuracy"] is None


@pytest.mark.parametrize(
    ("predicted", "ended", "expected"),
    [("Paris", True, True), ("Par", True, False), ("Par", False, None), ("Rom", False, False)],
)
def test_a_cut_answer_is_wrong_only_once_it_differs(predicted: str, ended: bool, expected: bool | None) -> None:
    assert exact("Paris", predicted, ended=ended) is expected
