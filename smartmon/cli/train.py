"""`smartmon train`: QLoRA on this machine, or under torchrun on several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from smartmon.cli.options import AsJson

if TYPE_CHECKING:
    from smartmon.trainer.signals import Signals

TEST = {"max_steps": 5, "logging_steps": 1, "detail_steps": 2, "save_steps": 5, "eval_steps": 5, "resume": "none"}
"""What `--test` sets where the command line does not."""
TEST_OUTPUT = "test_model"
TEST_PICTURES = 2
"""Steps between the pictures of a quick run."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train")(train)


def _of(name: str, words: str, default: str = "", metavar: str | None = None) -> Any:
    """An option whose default is that of TrainSettings, which is too heavy for `--help` to load."""
    return typer.Option(*name.split(), help=words, show_default=default or False, metavar=metavar)


def train(
    dataset: Annotated[
        Path | None, _of("--dataset", "JSON Lines with messages, prompt and completion, or text.", metavar="FILE")
    ] = None,
    model: Annotated[str | None, _of("--model", "Folder of the model, or its name on the hub.")] = None,
    base_dir: Annotated[
        Path | None, _of("--base-dir -C", "Gets status/ and logs/, which smartmon reads.", "current directory", "DIR")
    ] = None,
    output_dir: Annotated[
        Path | None, _of("--output-dir", "Checkpoints and adapter.", "<base-dir>/current_model", "DIR")
    ] = None,
    config: Annotated[
        Path | None, _of("--config", "TOML file with any of these settings; options beat it.", metavar="FILE")
    ] = None,
    test: Annotated[
        bool,
        _of(
            "--test",
            f"Quick run into <base-dir>/{TEST_OUTPUT}: 5 steps, all logged, a look and a picture every 2, one save.",
        ),
    ] = False,
    plan: Annotated[
        bool, _of("--plan", "Print what memory, steps and disk it would take, and exit; trains nothing.")
    ] = False,
    resume: Annotated[
        str | None,
        _of(
            "--resume",
            "auto goes on from the newest whole checkpoint of an unfinished training, none starts anew, "
            "a folder names where to go on.",
            "auto",
            "auto|none|DIR",
        ),
    ] = None,
    adapter: Annotated[Path | None, _of("--adapter", "Adapter whose weights it starts from.", metavar="DIR")] = None,
    epochs: Annotated[float | None, _of("--epochs", "Passes over the rows.", "1")] = None,
    max_steps: Annotated[int | None, _of("--max-steps", "Optimizer steps; beats --epochs.")] = None,
    learning_rate: Annotated[float | None, _of("--learning-rate", "Highest learning rate.", "2e-4")] = None,
    lr_scheduler: Annotated[
        Literal["cosine", "linear", "constant"] | None, _of("--lr-scheduler", "Shape after the warm-up.", "cosine")
    ] = None,
    warmup_steps: Annotated[int | None, _of("--warmup-steps", "Steps of warm-up.", "3 % of all")] = None,
    weight_decay: Annotated[float | None, _of("--weight-decay", "Decay of AdamW.", "0")] = None,
    max_grad_norm: Annotated[
        float | None, _of("--max-grad-norm", "Gradients are clipped to this norm; 0 does not clip.", "1")
    ] = None,
    optimizer: Annotated[
        Literal["auto", "adamw_torch_fused", "paged_adamw_8bit"] | None,
        _of("--optimizer", "auto takes the paged 8-bit one where memory asks for it.", "auto"),
    ] = None,
    batch_size: Annotated[int | None, _of("--batch-size", "Rows a device takes at once.", "8")] = None,
    grad_accum: Annotated[int | None, _of("--grad-accum", "Batches that make one step.", "1")] = None,
    max_length: Annotated[
        int | None, _of("--max-length", "Longest row in tokens, cut to what the model can.", "2048")
    ] = None,
    packing: Annotated[
        Literal["auto", "on", "off"] | None,
        _of("--packing", "Lay short rows end to end; auto does where it is safe and pays.", "auto"),
    ] = None,
    assistant_only: Annotated[
        bool | None,
        _of("--assistant-only/--all-tokens", "Learn only what the assistant says, or everything.", "assistant-only"),
    ] = None,
    system_prompt: Annotated[
        str | None, _of("--system-prompt", "Put before conversations without a system message.", metavar="TEXT")
    ] = None,
    strict: Annotated[
        bool | None, _of("--strict/--lenient", "Refuse bad rows, or skip and name them.", "lenient")
    ] = None,
    seed: Annotated[int | None, _of("--seed", "Of the order of rows, of dropout and new weights.", "42")] = None,
    quantize: Annotated[
        bool | None,
        _of("--use-qlora/--no-quantize", "Base model in 4 bits (NF4), or plain LoRA.", "use-qlora"),
    ] = None,
    compute_dtype: Annotated[
        Literal["auto", "bfloat16", "float16", "float32"] | None, _of("--compute-dtype", "Of the arithmetic.", "auto")
    ] = None,
    lora_r: Annotated[int | None, _of("--lora-r", "Rank of the adapter.", "16")] = None,
    lora_alpha: Annotated[float | None, _of("--lora-alpha", "Its scale is alpha / r.", "32")] = None,
    lora_dropout: Annotated[float | None, _of("--lora-dropout", "Dropout before the adapter.", "0")] = None,
    target_modules: Annotated[
        list[str] | None,
        _of("--target-modules", "Layer that gets an adapter; repeatable, or with commas.", "all-linear", "NAME"),
    ] = None,
    modules_to_save: Annotated[
        list[str] | None,
        _of("--modules-to-save", "Layer trained whole, such as lm_head; repeatable, or with commas.", metavar="NAME"),
    ] = None,
    gradient_checkpointing: Annotated[
        Literal["auto", "on", "off"] | None,
        _of("--gradient-checkpointing", "Compute activations twice; auto does where memory asks for it.", "auto"),
    ] = None,
    fsdp: Annotated[bool | None, _of("--fsdp/--no-fsdp", "Shard over GPUs, under torchrun.", "no-fsdp")] = None,
    threads: Annotated[int | None, _of("--threads", "Threads of the arithmetic on a CPU.", "all cores")] = None,
    eval_dataset: Annotated[
        Path | None, _of("--eval-dataset", "Rows to evaluate on.", "a share of the dataset", "FILE")
    ] = None,
    eval_fraction: Annotated[float | None, _of("--eval-fraction", "That share.", "0.05")] = None,
    eval_steps: Annotated[int | None, _of("--eval-steps", "Steps between evaluations; 0: none.", "200")] = None,
    early_stopping: Annotated[
        int | None, _of("--early-stopping", "Stop after so many evaluations without a better loss.", "off")
    ] = None,
    save_steps: Annotated[int | None, _of("--save-steps", "Steps between checkpoints.", "200")] = None,
    save_total_limit: Annotated[
        int | None, _of("--save-total-limit", "Newest checkpoints to keep, besides the best.", "3")
    ] = None,
    logging_steps: Annotated[int | None, _of("--logging-steps", "Steps between rows of the log.", "10")] = None,
    detail_steps: Annotated[
        int | None, _of("--detail-steps", "Steps between looks at an answer of the model; 0: none.", "50")
    ] = None,
    detail_tokens: Annotated[int | None, _of("--detail-tokens", "Longest answer, in tokens.", "128")] = None,
    detail_limit: Annotated[str | None, _of("--detail-limit", "Longest a look may take.", "10s", "DURATION")] = None,
    detail_share: Annotated[
        float | None, _of("--detail-share", "Share of the time that looks may take.", "0.05")
    ] = None,
    on_nonfinite: Annotated[
        Literal["stop", "continue"] | None, _of("--on-nonfinite", "What to do when the loss is NaN.", "stop")
    ] = None,
    control: Annotated[
        bool | None, _of("--control/--no-control", "Obey <base-dir>/.control (smartmon control).", "control")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fine-tune by QLoRA: a model in 4 bits, and an adapter.

    Writes status/ and logs/ into the base dir, checkpoints and at last the adapter into the output dir. SIGTERM and
    Ctrl-C end it after the step, with a checkpoint; the same command goes on from there. Twice ends it at once.

    Several GPUs or machines: torchrun --nproc-per-node 8 -m smartmon train ...

    Exits 0 completed or stopped, 20 the loss is NaN, 21 bad data, 22 no whole checkpoint to go on from.

    Example: smartmon train --dataset data.jsonl --model model --epochs 1
    """
    given = {key: value for key, value in locals().items() if key not in ("config", "test", "plan", "as_json")}
    given = {key: value for key, value in given.items() if value not in (None, [])}
    if plan:
        _plan(given, config, test=test, as_json=as_json)
        return
    from smartmon.trainer.signals import Interrupted, Signals

    # Before anything slow: a signal while the packages are loaded must end it as cleanly as one later.
    signals = Signals()
    signals.take()
    try:
        outcome = _run(given, config, signals, test=test, as_json=as_json)
    except Interrupted:
        typer.echo("stopped before the first step; there was nothing to save", err=as_json)
        outcome = {"state": "stopped", "reason": "signal", "step": 0}
    finally:
        signals.give_back()
    if as_json and _first():
        from smartmon.cli.output import print_json

        print_json(outcome)


def _plan(given: dict[str, Any], config: Path | None, *, test: bool, as_json: bool) -> None:
    """Print the plan, once under torchrun too."""
    from smartmon.cli.extras import needed
    from smartmon.cli.output import print_json
    from smartmon.cli.train_settings import settings_of

    settings = settings_of(given, config, below=TEST if test else {})
    with needed("training", "train"):
        from smartmon.trainer.plan import plan

        planned = plan(settings)
    if not _first():
        return
    if as_json:
        print_json(planned.to_json())
    else:
        typer.echo("\n".join(planned.lines()))


def _run(given: dict[str, Any], config: Path | None, signals: Signals, *, test: bool, as_json: bool) -> dict[str, Any]:
    """Train, and return how it ended. In processes other than the first, what the first says is not said again."""
    import sys

    from smartmon.cli.extras import needed
    from smartmon.cli.train_settings import settings_of
    from smartmon.errors import SmartmonError, TrainingError
    from smartmon.trainer.progress import Console

    settings = settings_of(given, config, below=TEST if test else {})
    if test and "output_dir" not in given:
        settings = settings.model_copy(update={"output_dir": settings.base_dir / TEST_OUTPUT})
    console = Console(sys.stderr if as_json else sys.stdout)
    try:
        with needed("training", "train"):
            from smartmon.trainer.run import train as run

            outcome = run(settings, say=console, signals=signals).to_json()
        if test and _first():
            console.say(_pictures(settings.base_dir))
        return outcome
    except SmartmonError as error:
        if not _first() and type(error) is not TrainingError:
            raise typer.Exit(error.exit_code) from None
        raise
    finally:
        console.close()


def _pictures(base_dir: Path) -> str:
    """Draw the quick run of the files that it left, as for any trainer, and say where; or why there is nothing."""
    from smartmon.cli.extras import needed
    from smartmon.cli.report_log import of_log
    from smartmon.config import Config
    from smartmon.errors import SmartmonError
    from smartmon.figures.album import FOLDER, Album

    try:
        with needed("drawing", "plots"), of_log(base_dir, Config(), {}) as (store, run):
            drawn = Album(base_dir / FOLDER, TEST_PICTURES).keep_up(store, run)
    except SmartmonError as error:
        return f"pictures    none: {error}"
    return f"pictures    {base_dir / FOLDER} ({len(drawn)})"


def _first() -> bool:
    from smartmon.trainer import ranks

    return ranks.rank() == 0
