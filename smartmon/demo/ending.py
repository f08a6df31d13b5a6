"""The end of the demonstration: what was caught, what was left, what was kept, and what the kept adapter answers."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smartmon import text
from smartmon.demo.narrator import hanging
from smartmon.demo.plan import QUESTIONS
from smartmon.demo.voices import first_reason
from smartmon.errors import SmartmonError

if TYPE_CHECKING:
    from smartmon.demo.narrator import Narrator
    from smartmon.demo.stage import Stage
    from smartmon.demo.witness import Trouble, Witness

_LONGEST = 40
"""Columns of an answer; a spoilt model goes on and on."""


def tell(stage: Stage, witness: Witness, narrator: Narrator) -> None:
    """Sum up. Raises SmartmonError when no checkpoint from before the trouble was kept."""
    _tell_troubles(witness, narrator)
    begun = witness.troubles[0].step
    left = sorted((stage.run / "current_model").glob("checkpoint-*"), key=_step)
    kept = [one for one in json.loads(stage.ask("snapshots", "list", "--json") or "[]") if one["state"] == "ok"]
    _tell_kept(left, kept, begun, narrator)
    good = _restore(stage, last_good(kept, begun), narrator)
    _tell_answers(stage, [*left[-1:], good], narrator)
    base, question = text.clean(stage.run), next(iter(QUESTIONS))
    _draw(stage, base, narrator)
    narrator.plain("", "LOOK FURTHER", "")
    narrator.plain(f"  smartmon dashboard --base-dir {base}      # the page again")
    for words in ("status", "events list", f"why run --step {begun + 1}", "snapshots verify --full"):
        narrator.plain(f"  smartmon {words} --base-dir {base}")
    narrator.plain(f'  smartmon sample {text.clean(good)} -p "{question}"', f"  less {text.clean(stage.alerts)}")


def _tell_troubles(witness: Witness, narrator: Narrator) -> None:
    narrator.plain("", "WHAT WAS PROVOKED, AND HOW SOON IT WAS KNOWN", "")
    for trouble in witness.troubles:
        narrator.plain(f"  step {trouble.step:<5}{trouble.what}")
        narrator.plain(*hanging("  noticed   ", _noticed(trouble)), *hanging("  alerted   ", _alerted(trouble)))


def _noticed(trouble: Trouble) -> str:
    if not trouble.incidents:
        return "never"
    at, step, _kind = trouble.incidents[0]
    kinds = ", ".join(kind.replace("_", " ") for _at, _step, kind in trouble.incidents)
    steps = step - trouble.step
    after = "at that step" if not steps else "one step later" if steps == 1 else f"{steps} steps later"
    return f"{after}, {at - trouble.at:.1f} s: {kinds}"


def _alerted(trouble: Trouble) -> str:
    if not trouble.alerts:
        return "never"
    number = "once" if len(trouble.alerts) == 1 else f"{len(trouble.alerts)} times"
    return f"{number}, first after {trouble.alerts[0] - trouble.at:.1f} s"


def _tell_kept(left: list[Path], kept: list[dict[str, Any]], begun: int, narrator: Narrator) -> None:
    narrator.plain("", "WHAT THE TRAINING LEFT, AND WHAT SMARTMON KEPT", "")
    spoilt = ": after the loss went wrong, all" if all(_step(folder) > begun for folder in left) else ""
    names = ", ".join(folder.name for folder in left) or "no checkpoint"
    narrator.plain(*hanging("  left      ", names + spoilt))
    for one in kept:
        checkpoint = f"checkpoint-{one['checkpoint_step']}"
        narrator.plain(f"  kept      {checkpoint:<16}at step {one['step']:<5}{first_reason(one['reason'])}")


def last_good(kept: list[dict[str, Any]], begun: int) -> dict[str, Any]:
    """Return the snapshot with the newest checkpoint from before a step; of several that of the divergence.

    Raises SmartmonError when there is none.
    """
    before = [one for one in kept if (one["checkpoint_step"] or begun) < begun]
    if not before:
        raise SmartmonError(
            f"no snapshot holds a checkpoint from before step {begun}; see what was kept with: smartmon snapshots list"
        )
    return max(before, key=lambda one: (one["checkpoint_step"], "divergence" in one["reason"], one["step"]))


def _restore(stage: Stage, chosen: dict[str, Any], narrator: Narrator) -> Path:
    """Copy a snapshot's checkpoints out, as anyone would, and return the one that is wanted."""
    restored = stage.folder / "restored"
    narrator.plain("", "THE LAST GOOD ONE, BACK IN USE", "")
    narrator.plain(f"  $ smartmon snapshots restore {chosen['name']} \\")
    narrator.plain(f"      {text.clean(restored)} --checkpoint-only --base-dir {text.clean(stage.run)}", "")
    stage.ask("snapshots", "restore", chosen["name"], str(restored), "--checkpoint-only")
    return restored / f"checkpoint-{chosen['checkpoint_step']}"


def _tell_answers(stage: Stage, adapters: list[Path], narrator: Narrator) -> None:
    """Ask the adapters, the restored one last."""
    process = stage.start("smartmon.demo.answers", *map(str, adapters), listen=True)
    said = process.communicate()[0]
    if process.returncode:
        raise SmartmonError(f"the adapters could not be asked; {text.clean(stage.log)} says why")
    answers = json.loads(said.splitlines()[-1])
    for number, (question, right) in enumerate(QUESTIONS.items()):
        narrator.plain(f"  {question}")
        for adapter, found in zip(adapters, answers):
            whose = "restored" if adapter is adapters[-1] else "left"
            answer = text.clean(found[number])
            shown = answer if len(answer) <= _LONGEST else f"{answer[: _LONGEST - 3]}..."
            narrator.plain(f"    {whose:<10}{adapter.name:<16}{shown}" + ("  right" if answer == right else ""))


def _draw(stage: Stage, base: str, narrator: Narrator) -> None:
    """Draw the run's picture, as anyone would."""
    narrator.plain("", "THE PICTURE OF IT", "")
    if importlib.util.find_spec("matplotlib") is None:
        narrator.plain("  not drawn: pip install 'smartmon[plots]' brings what draws")
        return
    narrator.plain(f"  $ smartmon report run -o {text.clean(stage.picture)} --base-dir {base}")
    stage.ask("report", "run", "-o", str(stage.picture))
    if not stage.picture.exists():
        raise SmartmonError(f"the picture could not be drawn; {text.clean(stage.log)} says why")


def _step(folder: Path) -> int:
    return int(folder.name.split("-")[1])
