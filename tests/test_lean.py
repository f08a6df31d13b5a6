"""The daemon's memory is kept small without taking anything away that is needed later."""

from __future__ import annotations

import subprocess
import sys

DAEMON = "from smartmon import lean; lean.prepare(); import smartmon.daemon; "


def in_a_new_process(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_the_daemon_loads_neither_rich_nor_tls_nor_what_others_need():
    heavy = "('rich', 'ssl', 'apprise', 'torch', 'numpy', 'requests', 'http.server', '_hashlib')"
    assert in_a_new_process(DAEMON + f"import sys; print([m for m in {heavy} if sys.modules.get(m)])") == "[]"


def test_tls_is_there_for_who_asks_later():
    code = "import http.client; print(http.client.HTTPSConnection.__name__)"
    assert in_a_new_process(DAEMON + code) == "HTTPSConnection"


def test_gigabytes_are_digested_by_openssl_and_fingerprints_without():
    code = (
        "import hashlib; from smartmon.snapshots.digests import _new; "
        "print(type(hashlib.sha256()).__module__, type(_new()).__module__, _new().name)"
    )
    small, large, name = in_a_new_process(DAEMON + code).split()
    assert (small != "_hashlib", large, name) == (True, "_hashlib", "sha256")


def test_trimming_is_harmless():
    assert in_a_new_process("from smartmon import lean; lean.trim(); print('alive')") == "alive"
