from __future__ import annotations

import os
import socket
import tracemalloc
from pathlib import Path

import pytest

from smartmon.sources.safe_read import Missing, Unreadable, read_file


def test_a_regular_file_is_read(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"hello")
    assert read_file(tmp_path / "a", root=tmp_path).data == b"hello"


def test_a_missing_file_is_missing(tmp_path: Path):
    with pytest.raises(Missing):
        read_file(tmp_path / "none")


def test_a_pipe_is_refused_without_blocking_or_opening_it(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unreadable, match="is a named pipe"):
        read_file(tmp_path / "pipe")


def test_a_directory_is_refused(tmp_path: Path):
    with pytest.raises(Unreadable, match="is a directory"):
        read_file(tmp_path)


def test_a_device_is_refused():
    with pytest.raises(Unreadable, match="is a device"):
        read_file(Path("/dev/zero"))


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        with pytest.raises(Unreadable, match="is a socket"):
            read_file(Path("s"))


def test_a_forbidden_file_says_so(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "a").chmod(0)
    user = os.geteuid()
    if user == 0:
        # Root may read everything, so look as nobody.
        os.seteuid(65534)
    try:
        with pytest.raises(Unreadable, match="permission denied"):
            read_file(tmp_path / "a")
    finally:
        os.seteuid(user)


def test_a_gigabyte_is_refused_without_reading_it(tmp_path: Path):
    with (tmp_path / "big").open("wb") as file:
        file.truncate(10**9)
    tracemalloc.start()
    with pytest.raises(Unreadable, match=r"is 1\.0 GB long; at most 16\.8 MB"):
        read_file(tmp_path / "big")
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_link_inside_the_base_dir_is_followed(tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "real").write_bytes(b"x")
    (tmp_path / "link").symlink_to("run/real")
    assert read_file(tmp_path / "link", root=tmp_path).data == b"x"


@pytest.mark.parametrize("name", ["link", "folder/secret"])
def test_a_link_out_of_the_base_dir_is_refused(tmp_path: Path, name: str):
    (tmp_path / "secret").write_bytes(b"x")
    base = tmp_path / "base"
    base.mkdir()
    (base / "link").symlink_to(tmp_path / "secret")
    (base / "folder").symlink_to(tmp_path)
    with pytest.raises(Unreadable, match="leads out of the base dir"):
        read_file(base / name, root=base)
    assert read_file(base / name).data == b"x"


def test_a_base_dir_that_is_a_link_itself_is_no_way_out(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_bytes(b"x")
    (tmp_path / "base").symlink_to("real")
    assert read_file(tmp_path / "base" / "a", root=tmp_path / "base").data == b"x"


def test_a_dangling_link_is_missing(tmp_path: Path):
    (tmp_path / "link").symlink_to("nothing")
    with pytest.raises(Missing):
        read_file(tmp_path / "link", root=tmp_path)


def test_a_loop_of_links_is_refused(tmp_path: Path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(Unreadable, match="loop of symbolic links"):
        read_file(tmp_path / "a", root=tmp_path)


def test_a_path_with_a_nul_byte_is_missing():
    with pytest.raises(Missing):
        read_file(Path("a\0b"))
