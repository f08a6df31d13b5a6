"""The table of checkpoints as trainers name them, and of the files that make up a model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from smartmon.snapshots.complete import Reader, folder_problem, llmc_problem, loose_problem, nanochat_problem
from smartmon.snapshots.listing import Entry

UNKNOWN = -1
"""The step of a checkpoint whose file does not tell it yet; such a one is never whole."""

_MEGATRON = "latest_checkpointed_iteration.txt"
_MAIN = re.compile(r"\{(stem|digits)\}")


@dataclass(frozen=True, slots=True)
class Layout:
    """One trainer's way of naming checkpoints."""

    name: str
    pattern: re.Pattern[str]
    """Matches the whole name; its group `step` is the step, if the name has it."""
    folder: bool = False
    companion: str = ""
    """For single files with their step in the name: the pattern of what belongs to the file; `{stem}` is its name
    without the ending, `{digits}` its step as it is written there."""
    problem: Callable[[int, Iterable[Entry], Reader], str] = loose_problem
    """What the checkpoint lacks; without a marker of its own, two still looks have to do."""
    marker: bool = False
    """Whether the trainer itself writes last what tells a finished checkpoint."""
    beside: str = ""
    """A file beside the checkpoints that names the newest finished one."""
    keys: tuple[str, ...] = ()
    """For files of `torch.save`: what the step is called in them, where the name does not tell it."""
    first: int = 0
    """Added to the number in the file."""
    in_place: bool = False
    """Whether the trainer writes the next one into the same file: a hard link would follow it."""
    place: str = ""
    """The only folder in which the name means anything, unless config says where checkpoints are."""

    def step(self, name: str) -> int | None:
        """The step that a name tells; None where the file has to be asked."""
        match = self.pattern.fullmatch(name)
        digits = match.groupdict().get("step") if match else None
        return int(digits) if digits else None

    def companions(self, name: str, names: Iterable[str]) -> list[str]:
        """Those of the names in its folder that belong to a single file."""
        match = self.pattern.fullmatch(name)
        if match is None:
            return []
        digits = match["step"]
        known = {"stem": name.rpartition(".")[0], "digits": digits}
        wanted = re.compile(_MAIN.sub(lambda found: re.escape(known[found[1]]), self.companion), re.ASCII)
        # A quick look first: a folder may hold thousands of names, and this is asked for each checkpoint in it.
        return [other for other in names if digits in other and wanted.fullmatch(other)]


def _names(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace("#", r"(?P<step>\d{1,18})"), re.ASCII)


LAYOUTS = (
    Layout("huggingface", _names("checkpoint-#"), folder=True, problem=folder_problem, marker=True),
    Layout("step_file", _names(r"checkpoint_step_#\.bin"), companion=r"{stem}(\.bin)?\.(embeddings|decoder)(\.\w+)?"),
    Layout("megatron", _names("iter_#"), folder=True, marker=True, beside=_MEGATRON),
    Layout("verl", _names("global_step_#"), folder=True, marker=True, beside=_MEGATRON),
    Layout("deepspeed", _names("global_step#"), folder=True, marker=True, beside="latest"),
    # With a sharding strategy Lightning saves a folder under the name of the file.
    Layout("lightning_folder", _names(r"(?:.*[-_])?step=#(?:-.*)?\.ckpt"), folder=True),
    Layout("lightning_step", _names(r"(?:.*[-_])?step=#(?:-.*)?\.ckpt"), in_place=True),
    Layout(
        "lightning", _names(r"(?:.*[-_])?epoch=\d+.*\.ckpt|last(?:-v\d+)?\.ckpt"), keys=("global_step",), in_place=True
    ),
    # A name of the user's own: elsewhere such a file may be the model that the run began from.
    Layout("lightning_named", _names(r".+\.ckpt"), keys=("global_step",), in_place=True, place="checkpoints"),
    Layout("nanogpt", _names(r"ckpt\.pt"), keys=("iter_num", "global_step", "iteration"), in_place=True),
    Layout(
        "nanochat",
        _names(r"model_#\.pt"),
        companion=r"meta_{digits}\.json|optim_{digits}_rank\d+\.pt",
        problem=nanochat_problem,
    ),
    Layout("modded_nanogpt", _names(r"state_step#\.pt")),
    Layout(
        "llmc",
        _names(r"model_#\.bin"),
        companion=r"state_{digits}_\d+\.bin|DONE_{digits}",
        problem=llmc_problem,
        marker=True,
    ),
    Layout("torchtune", _names("step_#"), folder=True),
    Layout("torchtitan", _names("step-#"), folder=True),
    # Ultralytics logs as n + 1 the epoch that it saves as n.
    Layout("yolo", _names(r"(?:last|best|epoch\d+)\.pt"), keys=("epoch",), first=1, in_place=True, place="weights"),
)
"""A new trainer is one more line. Of two lines that match a name the first counts."""

BY_NAME = {layout.name: layout for layout in LAYOUTS}

PLACES = ("current_model", "checkpoints", "checkpoint", "out", "weights")
"""The folders in a run's folder in which trainers put checkpoints."""

MODEL_FILES = (
    # weights
    *("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin", "pytorch_model*.bin.index.json"),
    *("adapter_model.bin", "consolidated*.pth", "model*.pt", "model*.pth", "*.gguf", "params.json"),
    # configuration
    *("config.json", "generation_config.json", "adapter_config.json", "model_config.json", "training_args.bin"),
    "training_config.json",
    *("preprocessor_config.json", "processor_config.json", "chat_template.jinja", "chat_template.json"),
    # tokenizer
    *("tokenizer*.json", "tokenizer*.model", "special_tokens_map.json", "added_tokens.json", "vocab.json"),
    *("vocab.txt", "merges.txt", "spiece.model", "sentencepiece*.model", "tekken.json"),
)
"""Files directly in the model folder that belong to the model. Data and logs never do."""


def is_model_file(name: str) -> bool:
    """Whether a file of this name, directly in the model folder, belongs to the model."""
    return any(fnmatchcase(name, pattern) for pattern in MODEL_FILES) and not any(
        layout.pattern.fullmatch(name) for layout in LAYOUTS
    )


@lru_cache(maxsize=16_384)
def layout_of(name: str, *, folder: bool, place: str = "") -> Layout | None:
    """The layout of a file or folder of this name. `place` is the name of its folder; empty: any place will do.

    Remembered, as every name in a run's folders is asked about at every scan.
    """
    for layout in LAYOUTS:
        if layout.folder is folder and layout.pattern.fullmatch(name) and (not place or layout.place in ("", place)):
            return layout
    return None
