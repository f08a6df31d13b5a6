"""A tiny model and a small dataset, built once; real packages, one thread."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a Llama of 0.15 million random weights and its tokenizer."""
    pytest.importorskip("bitsandbytes", reason="pip install 'smartmon[train]'")
    import torch

    from smartmon.demo import tiny

    torch.set_num_threads(1)
    return tiny.build_model(tmp_path_factory.mktemp("model"), hidden=64, layers=2)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 400 conversations."""
    from smartmon.demo import tiny

    return tiny.write_dataset(tmp_path_factory.mktemp("data") / "data.jsonl", 400)
