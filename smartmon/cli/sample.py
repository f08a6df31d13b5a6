"""`smartmon sample`: try an adapter on a prompt, on a file of prompts, or in a conversation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smartmon.cli.options import AsJson

if TYPE_CHECKING:
    from smartmon.trainer.sample import Question, Speaker


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sample")(sample)


def sample(
    adapter: Annotated[
        Path | None,
        typer.Argument(
            metavar="ADAPTER",
            help="An adapter, a checkpoint, a training's output, a snapshot, or a whole model.",
            show_default="current_model of the base dir",
        ),
    ] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", "-p", metavar="TEXT", help="Ask this, and exit.")] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="FILE", help="Ask this text, or each row of JSON Lines, and exit."),
    ] = None,
    base_model: Annotated[
        str | None,
        typer.Option(
            "--base-model",
            metavar="MODEL",
            help="The model that the adapter belongs to.",
            show_default="what the adapter names",
        ),
    ] = None,
    system_prompt: Annotated[
        str | None,
        typer.Option("--system-prompt", metavar="TEXT", help="System message.", show_default="that of the training"),
    ] = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Longest answer, in tokens.")] = 512,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0, max=10, help="0 takes the likeliest token; 1 draws as it learned.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of what is drawn.")] = 42,
    quantize: Annotated[
        bool | None,
        typer.Option(
            "--quantize/--no-quantize", help="The model in 4 bits, or whole.", show_default="as it was trained"
        ),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Give the prompt as it is, without the chat template.")] = False,
    compare: Annotated[bool, typer.Option("--compare", help="Answer without the adapter too.")] = False,
    base_dir: Annotated[Path, typer.Option("--base-dir", "-C", metavar="DIR", help="Training directory.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Try an adapter on a prompt.

    The answer comes as it is made. Without a prompt, on a terminal, it is a conversation: Ctrl-C ends an answer, twice
    or Ctrl-D the conversation, /new begins another. From a pipe each line is a prompt of its own.

    Example: smartmon sample current_model --prompt "Name the capital of Peru."
    """
    from smartmon.cli.talk import Talk
    from smartmon.errors import UsageError
    from smartmon.trainer import sample as sampling
    from smartmon.trainer.finding import find

    if prompt is not None and file is not None:
        raise UsageError("--prompt and --file both say what to ask; give one")
    asked = sampling.questions(file) if file is not None else _given(prompt)
    found = find(adapter or base_dir / "current_model", base_model=base_model, snapshots_dir=base_dir / "snapshots")
    if compare and not found.adapter:
        raise UsageError("--compare asks once with the adapter and once without, and this is a whole model")
    system = system_prompt if system_prompt is not None else found.trained.get("system_prompt")
    speaker = sampling.load(found, quantize=quantize)
    _introduce(found, speaker)
    talk = Talk(
        speaker,
        sampling.chooser(temperature, seed),
        most=max_tokens,
        system=system or "",
        raw=raw or not speaker.chats,
        compare=compare,
        quiet=as_json,
    )
    if asked is None and sys.stdin.isatty() and not as_json:
        talk.converse()
        return
    several = asked is None or len(asked) > 1
    answers = [talk.ask(question, titled=several or compare) for question in asked or _lines()]
    if as_json:
        _print(found, answers)


def _given(prompt: str | None) -> list[Question] | None:
    from smartmon.errors import UsageError
    from smartmon.trainer.sample import Question

    if prompt is None:
        return None
    if not prompt.strip():
        raise UsageError("--prompt is empty; give something to ask")
    return [Question(messages=({"role": "user", "content": prompt},))]


def _lines() -> Any:
    """Yield each line of standard input as a question, as it comes."""
    from smartmon.trainer.sample import Question

    for line in sys.stdin:
        if line.strip():
            yield Question(messages=({"role": "user", "content": line.strip()},))


def _introduce(found: Any, speaker: Speaker) -> None:
    """Say on standard error who answers."""
    from smartmon.text import clean

    how = next((line.removeprefix("base model: ") for line in speaker.about if line.startswith("base model: ")), "")
    note = f" ({clean(found.note)})" if found.note else ""
    if found.adapter:
        print(f"adapter: {clean(found.folder)}{note}", f"base: {clean(found.base)}, {how}", sep="\n", file=sys.stderr)
    else:
        print(f"model: {clean(found.folder)}{note}, {how}", file=sys.stderr)


def _print(found: Any, answers: list[dict[str, Any]]) -> None:
    from smartmon.cli.output import print_json

    about = {"adapter": str(found.folder), "base_model": found.base} if found.adapter else {"model": str(found.folder)}
    print_json({**about, "answers": answers})
