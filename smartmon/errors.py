"""The errors meant for people. Each message says what was being done to what, what was found, and what to do next."""

from __future__ import annotations


class SmartmonError(Exception):
    """Base of every error that leaves the command line as one message and an exit code."""

    exit_code = 1


class UsageError(SmartmonError):
    """The command's words are wrong, or name something that is not there."""

    exit_code = 2


class ConfigError(SmartmonError):
    """The configuration cannot be used; the message lists every problem."""

    exit_code = 2


class PartialError(SmartmonError):
    """Some items failed and the rest were done."""

    exit_code = 3


class SourceError(SmartmonError):
    """A file that was to be read cannot be."""

    exit_code = 4


class StoreError(SmartmonError):
    """The database cannot be opened, read or written. `transient`: the same write may succeed later."""

    exit_code = 4
    transient = False


class SnapshotError(SmartmonError):
    """A snapshot cannot be made, found, verified or removed."""

    exit_code = 3


class LockedError(SmartmonError):
    """Another daemon holds this base dir."""

    exit_code = 5


class TrainingError(SmartmonError):
    """A training could not be started, or broke off."""


class NonFiniteError(TrainingError):
    """The training was ended because its loss is no longer a number."""

    exit_code = 20


class DataError(TrainingError):
    """The rows to train on cannot be used."""

    exit_code = 21


class ResumeError(TrainingError):
    """There is no whole checkpoint to go on from."""

    exit_code = 22


class DeliveryError(SmartmonError):
    """An alert did not arrive. `permanent` says that trying again cannot help; `retry_after` is in seconds."""

    def __init__(self, message: str, *, permanent: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.retry_after = retry_after
