"""Asks adapters the same questions, as `smartmon sample` would, in one process: loading PyTorch takes the longest.

Run: `python -m smartmon.demo.answers ADAPTER...` prints a JSON list, of each adapter its answers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from smartmon.demo.plan import QUESTIONS
from smartmon.trainer import decoding, sample
from smartmon.trainer.finding import find


def answers(adapter: Path, *, most: int = 24) -> list[str]:
    """Return what the model says with an adapter on it, question by question, in at most so many tokens each."""
    speaker = sample.load(find(adapter), threads=1)
    found = []
    for question in QUESTIONS:
        asked = sample.Question(messages=({"role": "user", "content": question},))
        found.append("".join(speaker.answer(asked, sample.Answer(), most=most, choose=decoding.greedy)))
    return found


if __name__ == "__main__":
    print(json.dumps([answers(Path(adapter)) for adapter in sys.argv[1:]]))
