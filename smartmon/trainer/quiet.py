"""Silences what the packages say that is known and harmless. Everything else is heard."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

_KNOWN: tuple[tuple[str, type[Warning]], ...] = (
    # torch compiles parts of itself with its own old compiler when it is imported.
    (r"`torch\.jit\.\w+` is deprecated", DeprecationWarning),
    # peft 0.21 asks transformers 5.23 by the old names.
    (r"`is_gradient_checkpointing` is deprecated", FutureWarning),
    (r"`gradient_checkpointing_(en|dis)able` is deprecated", FutureWarning),
    # Said of tied embeddings that are trained; adapter.py ties the trained copies.
    (r"Model (with|has) `tie_word_embeddings=True`", UserWarning),
    (r"You are using a model with tied weights", UserWarning),
    # peft fits itself to GPT-2's layers and to experts that lie in one tensor, and tells how.
    (r"fan_in_fan_out is set to False but the target module is `Conv1D`", UserWarning),
    (r"The following (rank|alpha)_pattern keys did not match", RuntimeWarning),
    # The base model lies elsewhere now, as it does on every second machine. One that does not fit is an error.
    (r"The PEFT config's `base_model_name_or_path` was renamed", UserWarning),
    # Said at each save of trained embeddings: that they are saved is what was asked.
    (r"Setting `save_embedding_layers` to `True` as", UserWarning),
)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Filter the known warnings while something is imported, loaded or trained; the filters before are restored."""
    with warnings.catch_warnings():
        for message, category in _KNOWN:
            warnings.filterwarnings("ignore", message=message, category=category)
        yield


@contextlib.contextmanager
def no_bars() -> Iterator[None]:
    """Hide Transformers' progress bar and its report of missing weights, which model.py makes an error of.

    Not for models of the hub: the bar of a download is worth seeing.
    """
    from transformers.utils import logging as says

    shown, level = says.is_progress_bar_enabled(), says.get_verbosity()
    says.disable_progress_bar()
    if level == logging.WARNING:
        says.set_verbosity_error()
    try:
        yield
    finally:
        says.set_verbosity(level)
        if shown:
            says.enable_progress_bar()
