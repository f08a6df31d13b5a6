"""What can be wrong with a model's folder or its name on the hub, each told in one sentence with what to do."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smartmon import text
from smartmon.errors import SmartmonError, TrainingError, UsageError
from smartmon.snapshots.complete import files_problem
from smartmon.trainer.quiet import quiet
from smartmon.trainer.settings import TrainSettings

_INSTALL = "pip install 'smartmon[train]'"


def read_config(model: str) -> Any:
    """Return the configuration of a causal language model, or raise UsageError or TrainingError for another thing."""
    check_folder(model)
    with quiet(), explained(model, "reading the configuration of"):
        from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

        config = AutoConfig.from_pretrained(model, trust_remote_code=False)
        named = (getattr(config, "architectures", None) or ["?"])[0]
        kinds = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "?")
        if (
            type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING
            or getattr(config, "is_encoder_decoder", False)
            or not named.endswith(kinds)
        ):
            raise UsageError(
                f"{text.clean(model)} is no causal language model (its config.json says {text.clean(named)}); "
                "give one that continues text, such as a Llama, Mistral or Qwen"
            )
    return config


def pretrained_quantization(settings: TrainSettings, config: Any) -> bool:
    """Whether the weights are in 4 bits of bitsandbytes already. Raises UsageError if in another quantisation."""
    told = getattr(config, "quantization_config", None)
    if told is None:
        return False
    get = told.get if isinstance(told, dict) else lambda name, default=None: getattr(told, name, default)
    if get("load_in_4bit", False) or get("_load_in_4bit", False):
        return True
    raise UsageError(
        f"{text.clean(settings.model)} is quantised already ({text.clean(get('quant_method', 'unknown method'))}), "
        "which cannot be trained here; give the original model"
    )


def check_folder(model: str) -> None:
    """Raise UsageError or TrainingError for what can be seen from outside; a name of the hub passes."""
    folder, shown = Path(model), text.clean(model)
    if not folder.exists():
        # owner/name is how the hub names models; anything else can only have been meant as a folder.
        if model.startswith((".", "/", "~")) or model.count("/") != 1:
            raise UsageError(f"there is no model folder {shown}; give a folder with config.json, or a name on the hub")
        return
    if not folder.is_dir():
        raise UsageError(f"{shown} is a file; a model is a folder with config.json, weights and tokenizer")
    if not (folder / "config.json").exists():
        if (folder / "adapter_config.json").exists():
            raise UsageError(f"{shown} is an adapter: give it as adapter, and the model it was trained on as model")
        raise UsageError(f"the model folder {shown} holds no config.json; give one that save_pretrained has written")
    if problem := weights_problem(folder):
        raise TrainingError(f"the model in {shown} is damaged: {problem}; fetch it again")


def weights_problem(folder: Path) -> str:
    """Say which of a folder's files of weights is missing, empty or cut off, by its outside; empty when none is."""
    sizes = {entry.name: entry.stat().st_size for entry in os.scandir(folder) if entry.is_file()}
    sizes = {name: size for name, size in sizes.items() if name.endswith((".safetensors", ".bin", ".index.json"))}
    return files_problem(sizes, lambda name, at, length: _bytes(folder / name, at, length))


def _bytes(path: Path, at: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(at)
        return file.read(length)


@contextlib.contextmanager
def explained(model: str, doing: str) -> Iterator[None]:
    """Turn what the packages raise while reading a model into one sentence. Out of memory passes as it is."""
    try:
        yield
    except SmartmonError:
        raise
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
            raise
        raise _sentence(text.clean(model), doing, error) from error


_BY_TYPE: tuple[tuple[set[str], type[SmartmonError], str], ...] = (
    # A gated model is also one "not found": the first that fits is said.
    (
        {"GatedRepoError"},
        TrainingError,
        "{model} is gated: accept its terms on its page on the hub, then run: hf auth login",
    ),
    (
        {"RepositoryNotFoundError"},
        UsageError,
        "there is neither a folder {model} nor a model of that name on the hub; if it is private, run: hf auth login",
    ),
    (
        {"LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectError", "ConnectionError"},
        TrainingError,
        "there is no folder {model}, and the hub cannot be reached (offline?) to fetch a model of that name; "
        "fetch it where there is a network, and give the folder",
    ),
)
"""Names of exceptions (huggingface_hub's, of which versions differ) -> what to say."""

_BY_WORDS: tuple[tuple[str, str], ...] = (
    (
        "custom code",
        "{model} brings code of its own, which smartmon does not run; give a model that transformers knows itself",
    ),
    (
        "does not recognize this architecture",
        "this version of transformers does not know the architecture of {model}; pip install --upgrade transformers",
    ),
    ("Error no file named", "the model folder {model} holds no weights (model.safetensors); fetch it again"),
)
"""Words of Transformers' messages -> what to say."""


def _sentence(model: str, doing: str, error: BaseException) -> SmartmonError:
    chain = list(_chain(error))
    names = {type(link).__name__ for link in chain}
    absent = next((link for link in chain if isinstance(link, ImportError)), None)
    if absent is not None:
        what = f"{absent.name} is not installed" if absent.name else text.clean(absent)[:200]
        return UsageError(f"{doing} {model}: {what}; {_INSTALL}")
    if any(isinstance(link, OSError) and link.errno == errno.ENOSPC for link in chain):
        return TrainingError(f"{doing} {model}: the disk is full; free space, or set HF_HOME to a disk that has some")
    for kinds, kind, told in _BY_TYPE:
        if names & kinds:
            return kind(told.format(model=model))
    for words, told in _BY_WORDS:
        if any(words in str(link) for link in chain):
            return UsageError(told.format(model=model))
    said = str(error).strip() or type(error).__name__
    first = text.clean(said.splitlines()[0])[:300]
    return TrainingError(f"{doing} {model} failed: {first}; if the folder is incomplete, fetch it again")


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__
