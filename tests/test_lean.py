"""The daemon's memory is kept small without taking anything away that is needed later."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

DAEMON = "from smartmon import lean; lean.prepare(); import smartmon.daemon; "


def in_a_new_process(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_the_daemon_loads_neither_rich_nor_tls_nor_what_others_need():
    heavy = "('rich', 'ssl', 'apprise', 'torch', 'numpy', 'requests', 'http.server', '_hashlib')"
    assert in_a_new_process(DAEMON + f"import sys; print([m for m in {heavy} if sys.modules.get(m)])") == "[]"


def test_the_command_itself_loads_no_openssl(tmp_path: Path):
    code = (
        "import sys; from smartmon.cli import main\n"
        f"try: main(['run', '--once', '--base-dir', {str(tmp_path)!r}])\n"
        "finally: print([m for m in ('_hashlib', '_ssl', 'rich') if sys.modules.get(m)])"
    )
    assert in_a_new_process(code).splitlines()[-1] == "[]"


def test_tls_is_there_for_who_asks_later():
    code = "import http.client; print(http.client.HTTPSConnection.__name__)"
    assert in_a_new_process(DAEMON + code) == "HTTPSConnection"


def test_large_files_are_digested_by_openssl_and_small_ones_without(tmp_path: Path):
    sizes = {"small": 1000, "large": 20 << 20}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(bytes(size))
    code = (
        "import sys; from pathlib import Path; from smartmon.snapshots.digests import digest\n"
        f"for name in {list(sizes)}: print(digest(Path({str(tmp_path)!r}) / name), '_hashlib' in sys.modules)"
    )
    said = [line.split() for line in in_a_new_process(DAEMON + code).splitlines()]
    right = [hashlib.sha256(bytes(size)).hexdigest() for size in sizes.values()]
    assert said == [[right[0], "False"], [right[1], "True"]]


def test_trimming_is_harmless():
    assert in_a_new_process("from smartmon import lean; lean.trim(); print('alive')") == "alive"
