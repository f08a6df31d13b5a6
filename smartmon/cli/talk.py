"""Questions and answers on a terminal: one after another, or a conversation."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from smartmon.text import clean

if TYPE_CHECKING:
    from smartmon.trainer.sample import Answer, Question, Speaker

_ROOM = 64
"""Tokens that an answer must have room for, before the beginning of a conversation is forgotten."""
_KEPT = "\n\t\u200c\u200d"
"""Control characters that an answer may have on a terminal: lines, tabs, and joiners of letters and emoji."""


class Talk:
    """Asks a model and shows what it says while it says it."""

    def __init__(
        self,
        speaker: Speaker,
        choose: Callable[[Any], int],
        *,
        most: int,
        system: str = "",
        raw: bool = False,
        compare: bool = False,
        quiet: bool = False,
    ) -> None:
        self._speaker, self._choose, self._most = speaker, choose, most
        self._system, self._raw, self._compare, self._quiet = system, raw, compare, quiet
        self._history: list[dict[str, str]] = []

    def ask(self, question: Question, *, titled: bool = False) -> dict[str, Any]:
        """Ask one question for itself; return it with its answers, as `--json` shows them."""
        from smartmon.trainer.sample import Answer

        question = self._prepared(question)
        title = f"> {question.asked}" if titled else ""
        self._show(f"{title}\n" if title else "")
        about: dict[str, Any] = {"prompt": question.asked, "messages": list(question.messages)}
        if question.golden:
            self._show(f"golden:  {question.golden}\n" if titled else "")
            about["golden"] = question.golden
        if self._compare:
            base = Answer()
            self._say(question, base, "base:    ", adapter=False)
            about |= {"base_answer": base.text, "base_ended": base.ended}
        name = "adapter: " if self._compare else "answer:  " if titled and question.golden else ""
        answer = Answer()
        self._say(question, answer, name)
        self._show("\n" if titled else "")
        return about | {
            "answer": answer.text,
            "ended": answer.ended,
            "tokens": answer.tokens,
            "seconds": round(answer.seconds, 3),
        }

    def converse(self) -> None:
        """Talk until the person has enough: Ctrl-D, `/quit`, or Ctrl-C at a question that is empty."""
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - gives input() a memory and an editor
        print("Ask away. /new begins anew, Ctrl-C ends an answer, Ctrl-D ends.", file=sys.stderr)
        stopped = False
        while True:
            try:
                line = input("> ").strip()
                if line in ("/quit", "/exit"):
                    return
                if line == "/new":
                    self._history = []
                elif line:
                    self._turn(line)
                stopped = False
            except EOFError:
                print()
                return
            except KeyboardInterrupt:
                print()
                if stopped:
                    return
                stopped = True
                print("(Ctrl-C again ends)", file=sys.stderr)

    def _turn(self, line: str) -> None:
        """One question of the conversation, with all that was said before it, as far as the model can read."""
        from smartmon.errors import UsageError
        from smartmon.trainer.sample import Answer

        self._history = [*([] if self._raw else self._history), {"role": "user", "content": line}]
        question, answer = self._question(), Answer()
        try:
            if self._compare:
                self._say(question, Answer(), "base:    ", adapter=False)
            self._say(question, answer, "adapter: " if self._compare else "")
        except UsageError as error:
            print(f"smartmon: {error}", file=sys.stderr)
        finally:
            # An answer that was stopped was said as far as it came.
            said = {"role": "assistant", "content": answer.text}
            self._history = [*self._history, said] if answer.text else self._history[:-1]

    def _question(self) -> Question:
        from smartmon.trainer.sample import Question

        question = self._prepared(Question(messages=tuple(self._history)))
        whole = len(self._history)
        while len(self._history) > 2 and not self._speaker.fits(question, min(self._most, _ROOM)):
            self._history = self._history[2:]
            question = self._prepared(Question(messages=tuple(self._history)))
        if len(self._history) < whole:
            print("(the beginning of this conversation no longer fits, and is forgotten)", file=sys.stderr)
        return question

    def _prepared(self, question: Question) -> Question:
        """Return the question with the system message, or as bare text."""
        from dataclasses import replace

        if self._raw and len(question.messages) == 1:
            return replace(question, messages=(), text=question.asked)
        if self._system and question.messages and question.messages[0]["role"] != "system":
            return replace(question, messages=({"role": "system", "content": self._system}, *question.messages))
        return question

    def _say(self, question: Question, answer: Answer, title: str = "", *, adapter: bool = True) -> None:
        """Show the answer while it comes; it stands in `answer` as far as it came, whatever ends it."""
        self._show(title)
        try:
            pieces = self._speaker.answer(question, answer, most=self._most, choose=self._choose, adapter=adapter)
            with contextlib.closing(pieces):
                for piece in pieces:
                    self._show(piece)
        finally:
            self._show("\n")
        if answer.ended == "length" and not self._quiet:
            print(f"(cut after {answer.tokens} tokens)", file=sys.stderr)

    def _show(self, text: str) -> None:
        """Write to standard output at once; a terminal gets nothing that it would obey."""
        if not self._quiet and text:
            safe = "".join(char if char in _KEPT else clean(char) for char in text)
            sys.stdout.write(safe if sys.stdout.isatty() else text)
            sys.stdout.flush()
