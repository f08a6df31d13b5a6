"""What the settings mean to Hugging Face's Trainer."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from smartmon.trainer.settings import TrainSettings


def total_steps(settings: TrainSettings, items: int, at_once: int) -> int:
    """Optimizer steps of the whole training, as the Trainer counts them.

    `items` are what its dataset holds, rows or packs; `at_once` how many of them all processes together take.
    """
    if settings.max_steps is not None:
        return settings.max_steps
    batches = math.ceil(items / at_once)
    return max(1, math.ceil(settings.epochs * max(1, math.ceil(batches / settings.grad_accum))))


def warmup_steps(settings: TrainSettings, total: int) -> int:
    """Steps in which the learning rate rises from 0."""
    return settings.warmup_steps if settings.warmup_steps is not None else math.ceil(0.03 * total)


def training_arguments(settings: TrainSettings, loaded: Any, batch_size: int, total: int, *, evaluates: bool) -> Any:
    """Return the Trainer's arguments. One that this version of Transformers does not know is left out.

    `batch_size` is what a device takes at once of the dataset: rows, or one pack.
    """
    from transformers import TrainingArguments

    cuda, dtype = loaded.device.cuda, loaded.arithmetic.dtype
    wanted: dict[str, Any] = {
        "output_dir": str(settings.output),
        "num_train_epochs": settings.epochs,
        "max_steps": settings.max_steps or -1,
        "per_device_train_batch_size": batch_size,
        "per_device_eval_batch_size": settings.batch_size,
        "gradient_accumulation_steps": settings.grad_accum,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": {"constant": "constant_with_warmup"}.get(settings.lr_scheduler, settings.lr_scheduler),
        "warmup_steps": warmup_steps(settings, total),
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "optim": loaded.choices.optimizer,
        "seed": settings.seed,
        "data_seed": settings.seed,
        "bf16": dtype == "bfloat16",
        "fp16": dtype == "float16",
        "use_cpu": not cuda,
        # Every number as it is: the default shows NaN as a loss of 0.
        "logging_nan_inf_filter": False,
        "logging_steps": settings.logging_steps,
        "logging_first_step": True,
        "eval_strategy": "steps" if evaluates else "no",
        "eval_steps": settings.eval_steps if evaluates else None,
        "prediction_loss_only": True,
        "save_strategy": "steps",
        "save_steps": settings.save_steps,
        # It would count torn and poisoned checkpoints as good ones; ours are removed by checkpoints.prune.
        "save_total_limit": None,
        "report_to": "none",
        "disable_tqdm": True,
        "log_level": "error",
        "log_level_replica": "error",
        "label_names": ["labels"],
        "remove_unused_columns": False,
        # The default under DDP walks the graph of every step for parameters that no LoRA leaves out.
        "ddp_find_unused_parameters": False,
        "dataloader_pin_memory": cuda,
        "fsdp": True if settings.fsdp else None,
        "fsdp_config": {"version": 2, "auto_wrap_policy": "TRANSFORMER_BASED_WRAP"} if settings.fsdp else None,
    }
    known = {field.name for field in dataclasses.fields(TrainingArguments)}
    arguments = TrainingArguments(**{name: value for name, value in wanted.items() if name in known})
    if cuda:
        # Without torchrun, several visible GPUs would be driven by the threads of DataParallel, which breaks 4 bits.
        arguments._n_gpu = 1
    return arguments
