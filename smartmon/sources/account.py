"""What a source made of what it read: for `doctor --explain`, and for nothing that the daemon decides."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST = 64
"""Different things that are remembered of each sort: an account explains, it does not copy the file."""
LONGEST = 120


@dataclass(slots=True)
class Account:
    """What was taken from a file and what was left out, since the source was opened. Bounded."""

    dialect: str = ""
    """Whose format it is, where that is known: `Megatron-LM`, `Lightning`, `LLaMA-Factory`."""
    rows: int = 0
    """Rows that became observations."""
    metrics: dict[str, str] = field(default_factory=dict)
    """Key as the trainer writes it -> the name it is kept under."""
    ignored: dict[str, tuple[int, str]] = field(default_factory=dict)
    """What was left out, in words (`rows without a step`) -> how often, and the first example."""

    def took(self, key: str, name: str) -> None:
        """Note that a key became a metric."""
        if key not in self.metrics and len(self.metrics) < MOST:
            self.metrics[key] = name

    def ignore(self, what: str, example: str = "") -> None:
        """Note that something was left out."""
        count, first = self.ignored.get(what, (0, example[:LONGEST]))
        if count or len(self.ignored) < MOST:
            self.ignored[what] = (count + 1, first)
