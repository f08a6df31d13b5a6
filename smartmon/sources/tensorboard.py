"""TensorBoard event files: the scalars of one folder or one file, by byte offset, in either encoding.

Several files of a folder are one story, merged by wall time; where two write the same tag, the one that began later is
believed from its first value on, as TensorBoard itself does. Steps that go back are delivered as they come.

The last row of a growing file waits until that file has been still for a moment (or goes on), so that the rows do not
depend on when somebody looked. Gets wrong: a writer that pauses for longer within a step makes two rows of it.
"""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path

from smartmon.records import Batch, Json, Note
from smartmon.sources import trouble
from smartmon.sources.account import Account
from smartmon.sources.base import SourceSpec, shown, stat_key
from smartmon.sources.eventfile import places_from
from smartmon.sources.eventmerge import Merge
from smartmon.sources.eventproto import BadProto, Decoder
from smartmon.sources.folders import BOARD_RUN
from smartmon.sources.naming import Naming
from smartmon.sources.safe_read import Unreadable
from smartmon.sources.tfrecord import Damaged, data_length

MAX_FILES = 256
"""Files of one folder: the newest."""
_STAMPED = 32
_AGE = re.compile(r"tfevents\.(\d{1,15})")
_EVALUATIONS = frozenset({"validation", "valid", "val", "eval", "evaluation", "test"})
"""Names of folders (Keras, Estimator) in which `loss` is an evaluation's."""


class TensorBoard:
    """Reads the event files of one folder, or one of them; with the option `starts` those of all folders in it.

    Hugging Face makes a folder below `runs/` at each start. They are one story only if one source reads them all.
    """

    def __init__(self, spec: SourceSpec) -> None:
        self.spec = spec
        self.account = Account("TensorBoard")
        self._name = shown(spec.path.name)
        self._decoder = Decoder()
        self._naming: Naming | None = None
        self._listed: tuple[tuple[int, ...], bool, list[Path]] = ((), False, [])
        self._looks = itertools.count()
        self._pending = False
        self._told_full = False

    def stamp(self) -> tuple[object, ...]:
        """A `stat` of the folder and of its newest files."""
        keys = [stat_key(path) for path in self._files()[-_STAMPED:]]
        return (stat_key(self.spec.path), *keys, next(self._looks) if self._pending else None)

    def read(self, cursor: Mapping[str, Json] | None, now: float) -> Batch:
        """Return the next rows of all files, in the order of their wall times."""
        last = dict(cursor or {})
        places, owners = places_from(last.get("files")), dict(last.get("owners") or {})
        naming = self._names(last)
        merge = Merge(self.spec, self.account, self._decoder, naming, places, owners, now)
        seen = bool(last.get("seen"))
        try:
            merge.read(self._files(), hold=seen)
        except Unreadable as problem:
            # The places stand where they were: what was read so far comes again.
            merge.problem, merge.found, merge.more = f"{self._name} {problem}", [], False
        episode, notes = self._troubles(merge, last.get("trouble"))
        if naming.full and not self._told_full:
            self._told_full = True
            notes.append(Note("warning", f"{self._name} has too many different tags; new ones are left out"))
        reached: dict[str, Json] = {
            "files": {name: place.data() for name, place in list(places.items())[-2 * MAX_FILES :]},
            "claims": dict(naming.claims),
            "owners": owners,
            "seen": seen or (bool(places) and not merge.more),
            "trouble": episode,
        }
        return Batch(reached, tuple(merge.found), notes=tuple(notes), more=merge.more)

    def _troubles(self, merge: Merge, last: Mapping[str, Json] | None) -> tuple[Json, list[Note]]:
        """Return the episode of a file that cannot be read, and all notes; look again while something is open."""
        self._pending = merge.held
        if not merge.problem:
            note = trouble.recover(last, merge.now, kind="warning", what="TensorBoard's event file")
            return None, [*merge.notes, note] if note else merge.notes
        episode, note = trouble.worsen(last, merge.problem, merge.now, kind="warning", what="TensorBoard's")
        self._pending = self._pending or not episode["noted"]
        return episode, [*merge.notes, note] if note else merge.notes

    def _names(self, last: Mapping[str, Json]) -> Naming:
        """Return what the tags mean; anew where the reading begins anew."""
        if self._naming is None or "claims" not in last:
            folder = self.spec.path.parent if _is_event_file(self.spec.path.name) else self.spec.path
            evaluations = folder.name.lower() in _EVALUATIONS
            self._naming = Naming(self.account, evaluations=evaluations, claims=last.get("claims"))
        return self._naming

    def _files(self) -> list[Path]:
        """List the event files, the oldest first; again only when a folder has changed since two looks ago.

        One look is not enough: an entry made in the same tick of the file system's clock leaves the mtime as it was.
        """
        folders = self._folders()
        key = tuple(itertools.chain.from_iterable(stat_key(folder) for folder in folders))
        if self._listed[0] == key and self._listed[1]:
            return self._listed[2]
        settled = self._listed[0] == key
        found: list[Path] = []
        for folder in folders:
            try:
                with os.scandir(folder) as entries:
                    found += [folder / entry.name for entry in entries if "tfevents" in entry.name]
            except NotADirectoryError:
                return [self.spec.path]
            except OSError:
                continue
        files = sorted((path for path in found if _is_event_file(path.name)), key=_age)[-MAX_FILES:]
        for path in found if not settled else ():
            if not _is_event_file(path.name):
                self.account.ignore("compressed or unfinished event files", shown(path.name))
        self._listed = (key, settled, files)
        return files

    def _folders(self) -> list[Path]:
        """Return where the files lie: in the folder itself, or in those below it, one for each start of the trainer."""
        if not self.spec.options.get("starts"):
            return [self.spec.path]
        try:
            with os.scandir(self.spec.path) as entries:
                starts = (entry for entry in entries if BOARD_RUN.fullmatch(entry.name))
                names = sorted(entry.name for entry in starts if entry.is_dir(follow_symlinks=False))
        except OSError:
            return []
        return [self.spec.path / name for name in names][:MAX_FILES]


_OTHERS = (".gz", ".zst", ".xz", ".bz2", ".zip", ".tmp", ".part", ".profile-empty")


def _is_event_file(name: str) -> bool:
    return "tfevents" in name and not name.endswith(_OTHERS)


def _age(path: Path) -> tuple[int, str]:
    found = _AGE.search(path.name)
    return int(found[1]) if found else 0, path.name


def recognises(head: bytes, path: Path) -> str:
    """Say how the beginning of a file shows it to be TensorBoard's; nothing if it does not."""
    if not head:
        named = _is_event_file(path.name) and path.name.startswith("events.out.")
        return "it is empty, and named as TensorBoard's event files are" if named else ""
    try:
        length = data_length(head[:12]) if len(head) >= 25 else 0
        event = Decoder().event(head[12 : 12 + length]) if 9 <= length <= len(head) - 12 else None
    except (Damaged, BadProto):
        event = None
    if event is not None and event.version.startswith("brain.Event:"):
        return f"its first record says {event.version}, TensorBoard's version mark"
    if event is not None and head[12] == 9 and math.isfinite(event.wall_time) and (event.scalars or event.others):
        return "its first record is an event of TensorBoard with a checksum that fits"
    return ""
