"""Where a training may write."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartmon.errors import UsageError
from smartmon.trainer import lock


def test_a_file_in_the_place_of_the_folder_is_named_as_that(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(UsageError, match="out: a file is in its place"), lock.held([tmp_path / "out"]):
        pass
    with pytest.raises(UsageError, match="a file is in its place"), lock.held([tmp_path / "out" / "deeper"]):
        pass


def test_a_folder_that_cannot_be_made_is_told_with_the_reason() -> None:
    refused = pytest.raises(UsageError, match=r"cannot train into /proc/nowhere: .*choose another folder")
    with refused, lock.held([Path("/proc/nowhere")]):
        pass
