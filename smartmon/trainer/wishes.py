"""What a training was asked to do, by its control file or by a signal, made one decision for all its processes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from smartmon.trainer.control import WORDS, Control
from smartmon.trainer.peers import Peers

SIGNAL = "stop by signal"
_FLAGS = ("checkpoint", "pause", "resume", "stop", SIGNAL)
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Wish:
    """One word, and where it came from: the id of the control file's write, or nothing."""

    word: str
    id: str = ""


class Wishes:
    """Collects wishes from any thread or signal handler, and hands them out at the end of a step."""

    def __init__(self, peers: Peers, control: Control | None = None) -> None:
        self._peers, self._control = peers, control
        self._asked: deque[Wish] = deque()  # appending and taking are atomic, in a signal handler too
        self.taken: list[Wish] = []
        """Wishes of this process that were handed out and not acknowledged yet."""
        self.refused: deque[Wish] = deque()
        """Words of the control file that are none."""

    def ask(self, word: str) -> None:
        """Wish for something; raises ValueError for a word that is none."""
        if word not in WORDS:
            raise ValueError(f"{word!r} is none of {', '.join(WORDS)}")
        self._asked.append(Wish(SIGNAL if word == "stop" else word))

    def look(self) -> None:
        """Look into the control file. It may lie on a disk that hangs: this is for the writer's thread."""
        if self._control is None:
            return
        if word := self._control.poll():
            self._asked.append(Wish(word, self._control.id))
        elif self._control.refused:
            self.refused.append(Wish(self._control.refused, self._control.id))
            self._control.refused = ""

    def step(self) -> frozenset[str]:
        """Return what is wished for at the end of a step.

        With several processes it is what all of them wished for a step ago, so that none waits for the others.
        """
        if self._peers.alone:
            return frozenset(self._take()) if self._asked else _NONE
        found = self._peers.answer()
        self._peers.post(_flags(self._take()))
        return _words(found)

    def now(self) -> frozenset[str]:
        """Return what is wished for, once all processes have come to ask."""
        if self._peers.alone:
            return frozenset(self._take())
        late = _words(self._peers.answer())
        return late | _words(self._peers.most(_flags(self._take())))

    def finish(self) -> None:
        """Let no question stay without its answer, when the last step is over."""
        self._peers.answer()

    def _take(self) -> list[str]:
        taken = []
        while self._asked:
            taken.append(self._asked.popleft())
        self.taken += taken
        return [wish.word for wish in taken]


def _flags(words: list[str]) -> list[float]:
    return [float(flag in words) for flag in _FLAGS]


def _words(flags: list[float]) -> frozenset[str]:
    return frozenset(word for word, flag in zip(_FLAGS, flags) if flag)
