"""How trainers print, one file per family; which one a log is in is told from its lines."""

from __future__ import annotations

from smartmon.sources.text_dialects.bars import Keras, Tqdm
from smartmon.sources.text_dialects.base import Dialect
from smartmon.sources.text_dialects.generic import Generic
from smartmon.sources.text_dialects.hugging_face import HuggingFace
from smartmon.sources.text_dialects.megatron import Megatron
from smartmon.sources.text_dialects.modded import Llmc, LlmcLog, ModdedNanoGPT
from smartmon.sources.text_dialects.nano import Nanochat, NanoGPT
from smartmon.sources.text_dialects.piped import Torchtune, Verl

_ALL: tuple[type[Dialect], ...] = (
    HuggingFace,
    Megatron,
    NanoGPT,
    Nanochat,
    ModdedNanoGPT,
    LlmcLog,
    Llmc,
    Torchtune,
    Verl,
    Tqdm,
    Keras,
    Generic,
)
DIALECTS: dict[str, type[Dialect]] = {dialect.key: dialect for dialect in _ALL}
"""What the cursor calls a dialect -> its class; the careful fallback last."""

_LONGEST = 8000
_HINTS = ("loss", "reward", "perplexity", "ppl", "nll", "bpb", "tel:", "trl:", " - ", "pass@", "core metric", "iterat")


def hinted(text: str) -> bool:
    """Whether any dialect could measure by this line: the quick test that most lines of a log fail."""
    lower = text.lower()
    return any(hint in lower for hint in _HINTS)


def told_by(text: str) -> str:
    """Return the key of the dialect that a line is in, or `""`."""
    text = text[:_LONGEST]
    if not hinted(text):
        return ""
    return next((dialect.key for dialect in _ALL if dialect.says(text)), "")
