"""The document of the API and the server agree, whatever is asked: schemathesis asks what nobody would."""

from __future__ import annotations

import pytest

from smartmon.web.serve import Served

schemathesis = pytest.importorskip("schemathesis", reason="pip install 'smartmon[dev]'")

CASES = 12
"""Of each endpoint, besides what the document's own bounds suggest."""


@pytest.mark.timeout(120)
def test_no_question_gets_an_answer_that_the_document_does_not_know(dashboard: Served) -> None:
    from hypothesis import HealthCheck, Phase, given, settings

    document = schemathesis.openapi.from_url(f"{dashboard.url}api/openapi.json")
    # A stream has no end to wait for, and pictures take seconds each.
    wanted = document.exclude(path="/api/stream").exclude(path="/api/plots")
    for found in wanted.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=CASES,
            derandomize=True,
            phases=[Phase.generate],
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def asked(case: object) -> None:
            case.call_and_validate()  # type: ignore[attr-defined]

        asked()
