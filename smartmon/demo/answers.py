"""Asks adapters the same questions: `python -m smartmon.demo.answers MODEL ADAPTER...` answers with one JSON document.

It loads each as `smartmon sample` does: the base model in 4 bits, the adapter on it, the likeliest token each time.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from smartmon.demo.plan import QUESTIONS
from smartmon.trainer import decoding, model
from smartmon.trainer.settings import TrainSettings


def answers(base: str, adapter: Path, *, most: int = 24) -> list[str]:
    """Return what the model says with `adapter` on it, question by question, in at most so many tokens each."""
    loaded = model.load(TrainSettings(dataset=Path(), model=base, threads=1), adapter=adapter, training=False)
    stops = decoding.stop_ids(loaded.model, loaded.tokenizer)
    found = []
    for question in QUESTIONS:
        prompt = loaded.tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=True, return_dict=False
        )
        told = decoding.tokens(loaded.model, prompt, most=most, stops=stops, choose=decoding.greedy)
        found.append(str(loaded.tokenizer.decode(list(told), skip_special_tokens=True)))
    return found


if __name__ == "__main__":
    base, *adapters = sys.argv[1:]
    print(json.dumps([answers(base, Path(adapter)) for adapter in adapters]))
