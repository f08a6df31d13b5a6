"""What a training is asked to do: every setting of `smartmon train`, with its bounds, defaults and units."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from smartmon.params import Duration, Params


class TrainSettings(Params):
    """One training. The command line, and the TOML file of `--config`, have these names."""

    dataset: Path = Field(description="JSON Lines with messages, prompt and completion, or text.")
    model: str = Field(description="Folder of the model to train, or its name on the hub.")
    base_dir: Path = Field(Path(), description="Holds status/ and logs/, which smartmon reads.")
    output_dir: Path | None = Field(None, description="Checkpoints and the adapter; <base-dir>/current_model if unset.")
    eval_dataset: Path | None = Field(None, description="Rows to evaluate on; else a share of the dataset.")
    resume: str = Field(
        "auto",
        description='"auto" goes on from the newest whole checkpoint if there is one, "none" starts anew, or a folder.',
    )
    adapter: Path | None = Field(None, description="An adapter whose weights this training starts from.")
    strict: bool = Field(False, description="Refuse a dataset with a bad row, instead of skipping it.")

    epochs: float = Field(1.0, gt=0, description="Passes over the rows.")
    max_steps: int | None = Field(None, ge=1, description="Optimizer steps; beats epochs.")
    learning_rate: float = Field(2e-4, gt=0, description="Highest learning rate.")
    lr_scheduler: Literal["cosine", "linear", "constant"] = Field("cosine", description="Shape after the warm-up.")
    warmup_steps: int | None = Field(None, ge=0, description="Steps of warm-up; 3 % of all steps if unset.")
    weight_decay: float = Field(0.0, ge=0, description="Decay of AdamW.")
    max_grad_norm: float = Field(1.0, ge=0, description="Gradients are clipped to this norm; 0 does not clip.")
    batch_size: int = Field(8, ge=1, description="Rows a device takes at once.")
    grad_accum: int = Field(1, ge=1, description="Batches that make one optimizer step.")
    max_length: int = Field(2048, ge=8, description="Longest row in tokens; cut to what the model can.")
    packing: Literal["auto", "on", "off"] = Field(
        "auto", description="Lay short rows end to end without padding; auto does where it is safe and pays."
    )
    assistant_only: bool = Field(True, description="Learn what the assistant says, not what it is asked.")
    system_prompt: str | None = Field(None, description="Put before every conversation that has no system message.")
    seed: int = Field(42, ge=0, description="Of the order of rows, of dropout and of new weights.")

    quantize: bool = Field(True, description="QLoRA: the base model in 4 bits (NF4, double quantisation).")
    compute_dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field("auto", description="Of the arithmetic.")
    lora_r: int = Field(16, ge=1, description="Rank of the adapter.")
    lora_alpha: float = Field(32, gt=0, description="Scale of the adapter is alpha / r.")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the adapter.")
    target_modules: tuple[str, ...] = Field(("all-linear",), description="Layers that get an adapter.")
    modules_to_save: tuple[str, ...] = Field((), description="Layers trained whole, such as embed_tokens and lm_head.")
    gradient_checkpointing: Literal["auto", "on", "off"] = Field(
        "auto", description="Compute activations twice instead of keeping them; auto does where memory asks for it."
    )
    optimizer: Literal["auto", "adamw_torch_fused", "paged_adamw_8bit"] = Field(
        "auto", description="Fused AdamW, or the paged 8-bit one where memory asks for it."
    )
    fsdp: bool = Field(False, description="Shard the model over the GPUs (FSDP2), under torchrun.")

    eval_fraction: float = Field(0.05, ge=0, lt=1, description="Share of the rows kept for evaluation.")
    eval_steps: int = Field(200, ge=0, description="Steps between evaluations; 0 never evaluates.")
    save_steps: int = Field(200, ge=1, description="Steps between checkpoints.")
    save_total_limit: int = Field(3, ge=1, description="Checkpoints to keep; the last good one is never removed.")
    logging_steps: int = Field(10, ge=1, description="Steps between rows of the log.")
    early_stopping: int | None = Field(None, ge=1, description="Stop after so many evaluations without a better loss.")

    detail_steps: int = Field(50, ge=0, description="Steps between looks at what the model answers; 0 never looks.")
    detail_tokens: int = Field(128, ge=1, description="Longest answer of such a look, in tokens.")
    detail_limit: Duration = Field(10.0, gt=0, description="Longest such a look may take.")
    detail_share: float = Field(0.05, gt=0, le=1, description="Share of the training's time that looks may take.")

    on_nonfinite: Literal["stop", "continue"] = Field("stop", description="What to do when the loss is NaN.")
    control: bool = Field(True, description="Obey <base-dir>/.control: pause, resume, stop, checkpoint.")
    threads: int | None = Field(None, ge=1, description="Threads of the arithmetic on a CPU.")

    @property
    def output(self) -> Path:
        """Where checkpoints and the adapter go."""
        return self.output_dir if self.output_dir is not None else self.base_dir / "current_model"
