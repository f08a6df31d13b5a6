"""The log keeps its beginning and its end within its room, and the daemon reads on through its rotation."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from smartmon.exec.outputlog import OutputLog
from smartmon.sources.tail import Place, Tail


def parts(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir())


def test_it_rotates_between_lines_and_keeps_the_first_part_and_the_newest(tmp_path: Path) -> None:
    log = OutputLog(tmp_path / "output.log", part=1000, newest=2)
    for number in range(1000):
        log.write(b"line %04d\n" % number)
    log.close()
    assert parts(tmp_path / "output.log") == ["output.log", "output.log.1", "output.log.8", "output.log.9"]
    assert (tmp_path / "output.log.1").read_bytes().startswith(b"line 0000\n")
    texts = [(tmp_path / name).read_bytes() for name in ("output.log.8", "output.log.9", "output.log")]
    assert b"".join(texts).endswith(b"line 0999\n")
    assert all(len(text) <= 1000 and text.startswith(b"line ") and text.endswith(b"\n") for text in texts if text)


def test_the_daemon_reads_every_line_through_rotation(tmp_path: Path) -> None:
    log, tail = OutputLog(tmp_path / "output.log", part=1000, newest=3), Tail(tmp_path / "output.log", tmp_path)
    place: Place | None = None
    seen: list[bytes] = []
    for number in range(1000):
        log.write(b"line %04d\n" % number)
        while number % 60 == 59 or number == 999:
            lines = tail.read(place)
            place = lines.place
            seen += [text for _, text in lines.lines]
            assert not lines.notes
            if not lines.more and not lines.lines:
                break
    log.close()
    assert seen == [b"line %04d" % number for number in range(1000)]


def test_an_endless_line_is_cut_and_stays_within_the_room(tmp_path: Path) -> None:
    log = OutputLog(tmp_path / "output.log", part=1000, newest=2)
    for _ in range(100):
        log.write(b"x" * 777)
    log.close()
    assert all((tmp_path / name).stat().st_size <= 1125 for name in parts(tmp_path / "output.log"))


def test_attempts_are_told_apart_and_rotation_goes_on_where_it_was(tmp_path: Path) -> None:
    for attempt in (1, 2, 3):
        log = OutputLog(tmp_path / "output.log", part=1000)
        log.separate(f"attempt {attempt}")
        log.write(b"a line\n" * 100)
        log.close()
    text = b"".join((tmp_path / name).read_bytes() for name in ("output.log.1", "output.log.2", "output.log"))
    assert text.startswith(b"a line\n")
    assert (text.count(b"a line\n"), text.count(b"--- attempt 2 ---"), text.count(b"attempt 1")) == (300, 1, 0)


def test_what_a_full_disk_lost_is_counted_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    log = OutputLog(tmp_path / "output.log")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        log.write(b"x" * 150)
        assert log.trouble == "File too large"
        log.write(b"y" * 50)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    log.write(b"after\n")
    log.close()
    said = b"\n[smartmon: 100 bytes are missing here: File too large]\nafter\n"
    assert (tmp_path / "output.log").read_bytes() == b"x" * 100 + said


def test_a_folder_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    log = OutputLog(tmp_path / "run/output.log", part=100) if (tmp_path / "run").mkdir() is None else None
    assert log is not None
    (tmp_path / "run/output.log").unlink()
    (tmp_path / "run").rmdir()
    log.write(b"a line\n" * 40)
    log.close()
    assert (tmp_path / "run/output.log").exists()
