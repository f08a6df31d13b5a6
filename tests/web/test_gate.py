"""Who may ask, by which name, how much: held on every route there is."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from smartmon.errors import StoreError
from smartmon.web import connection
from smartmon.web.hosts import Hosts
from smartmon.web.serve import Served, ServeError, listen
from smartmon.web.token import token
from tests.web.world import served

ROUTES = (
    *("/api/runs", "/api/stats", "/api/series", "/api/plots", "/api/checkpoints", "/api/snapshots", "/api/events"),
    *("/api/incidents", "/api/incidents/1", "/api/gpu", "/api/samples", "/api/experts", "/api/log", "/api/compare"),
    *("/api/stream", "/health", "/metrics", "/api/openapi.json", "/api", "/", "/assets/x.js", "/nothing"),
)
DATA = [route for route in ROUTES if route.startswith(("/api/", "/health", "/metrics"))]


def ask(where: Served, request: bytes, limit: float = 10.0) -> bytes:
    """Send bytes as they are, and return what comes back until the other side closes."""
    with socket.create_connection(("127.0.0.1", where.port), timeout=limit) as link:
        data = b""
        # It may answer and close before it has read all: that is what is wanted.
        with contextlib.suppress(OSError):
            link.sendall(request)
        with contextlib.suppress(OSError):
            while part := link.recv(65536):
                data += part
        return data


def get(where: Served, route: str, *headers: str, method: str = "GET", host: str = "127.0.0.1") -> bytes:
    """Ask with some headers, and return the whole answer."""
    lines = [f"{method} {route} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    return ask(where, "\r\n".join([*lines, "", ""]).encode("latin-1"))


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.fixture(scope="module")
def guarded(base: Path) -> Iterator[Served]:
    """A server that others can reach: everybody needs the token."""
    with served(base, dashboard__host="0.0.0.0") as where:
        yield where


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.nip.io", "localhost.evil.example", "user@localhost", "127.0.0.1:80:80", "10.0.0.1"],
)
def test_every_route_refuses_another_name(dashboard: Served, route: str, host: str) -> None:
    assert status(get(dashboard, route, host=host)) in (400, 421)


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_refuses_no_host_and_two(dashboard: Served, route: str) -> None:
    assert status(ask(dashboard, f"GET {route} HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n".encode())) == 400
    assert status(ask(dashboard, f"GET {route} HTTP/1.0\r\n\r\n".encode())) == 400
    twice = f"GET {route} HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    assert status(ask(dashboard, twice.encode())) == 400


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8081", "127.0.0.1:1", "[::1]:8081"])
def test_this_machine_is_known_by_its_own_names(dashboard: Served, host: str) -> None:
    assert status(get(dashboard, "/health", host=host)) == 200


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_sent(dashboard: Served, route: str, method: str) -> None:
    assert status(get(dashboard, route, method=method)) == 405
    assert status(get(dashboard, route, "Origin: http://evil.example", method=method)) == 403
    assert status(get(dashboard, route, "Sec-Fetch-Site: cross-site", method=method)) == 403
    assert status(get(dashboard, route, "Content-Type: application/x-www-form-urlencoded", method=method)) == 403


@pytest.mark.parametrize("route", DATA)
def test_another_sites_page_reads_nothing(dashboard: Served, route: str) -> None:
    assert status(get(dashboard, route, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors")) == 403


@pytest.mark.parametrize("route", DATA)
def test_without_the_token_there_is_no_data(guarded: Served, route: str) -> None:
    answer = get(guarded, route)
    assert status(answer) == 401
    assert b"www-authenticate: Bearer" in answer
    assert status(get(guarded, route, "Authorization: Bearer wrong")) == 401
    assert status(get(guarded, route, "Authorization: Bearer")) == 401
    assert status(get(guarded, route, f"Cookie: smartmon_{guarded.port}=wrong")) == 401
    assert status(get(guarded, route, f"Authorization: Bearer {guarded.secret}", method="POST")) in (403, 405)
    assert status(get(guarded, route, method="POST")) == 403


def test_the_token_opens_as_a_header_and_as_a_cookie(guarded: Served) -> None:
    assert status(get(guarded, "/api/runs", f"Authorization: Bearer {guarded.secret}")) == 200
    login = get(guarded, f"/?token={guarded.secret}&run=a%2Fb")
    assert status(login) == 303
    assert b"\r\nlocation: ./?run=a%2Fb\r\n" in login
    cookie = next(line for line in login.decode().split("\r\n") if line.startswith("set-cookie: "))
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert status(get(guarded, "/api/runs", f"Cookie: {cookie.removeprefix('set-cookie: ').split(';')[0]}")) == 200


def test_odd_cookies_of_a_neighbour_do_not_hide_ours(guarded: Served) -> None:
    ours = f"smartmon_{guarded.port}={guarded.secret}"
    for odd in ('prefs={"a": [1, 2]}', "caf\xe9=1", "=;;", "x y=z", f"smartmon_{guarded.port}=stale"):
        assert status(get(guarded, "/api/runs", f"Cookie: {odd}; {ours}")) == 200


@pytest.mark.parametrize("route", ["//evil.example/", "/\\evil.example", "//evil.example//"])
def test_a_login_leads_nowhere_else(guarded: Served, route: str) -> None:
    answer = get(guarded, f"{route}?token={guarded.secret}")
    assert b"location: ./\r\n" in answer


def test_a_wrong_token_in_the_address_opens_nothing(guarded: Served) -> None:
    assert b"set-cookie" not in get(guarded, "/?token=wrong")


def test_the_token_is_the_owners_alone(guarded: Served) -> None:
    assert guarded.token_file is not None
    assert stat.S_IMODE(guarded.token_file.stat().st_mode) == 0o600
    assert guarded.token_file.read_text().strip() == guarded.secret


def test_a_token_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("x" * 40)
    path.chmod(0o644)
    with pytest.raises(StoreError, match="chmod 600"):
        token(path)


@pytest.mark.parametrize("route", ROUTES)
def test_every_answer_carries_the_headers(dashboard: Served, route: str) -> None:
    answer = get(dashboard, route, method="HEAD" if route == "/api/stream" else "GET")
    head = answer.partition(b"\r\n\r\n")[0].lower()
    for wanted in (b"content-security-policy: default-src 'self'", b"x-content-type-options: nosniff"):
        assert wanted in head
    assert b"referrer-policy: no-referrer" in head
    assert b"access-control-" not in head
    assert b"server:" not in head
    assert (b"cache-control: no-store" in head) == (route in DATA)


@pytest.mark.parametrize(
    "route",
    [
        "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/../../etc/passwd", "/%252e%252e%252fetc%252fpasswd",
        "//etc/passwd", "/etc/passwd", "/assets/..%2f..%2f..%2fserve.py", "/index.html%00.js", "/static/index.html",
        "/api/incidents/..%2f..%2fetc%2fpasswd", "/api/incidents/999999", "/api/stats?run=../../etc/passwd",
        "/api/log?source=../../../../etc/passwd", "/api/log?source=/etc/passwd", "/api/samples?run=%00",
        "/api/log?run=qlora-7b&source=logs%2f..%2f..%2f.smartmon%2fsmartmon.db", "/api/checkpoints?run=%2e%2e",
    ],
)  # fmt: skip
def test_no_address_becomes_a_path(dashboard: Served, route: str) -> None:
    answer = get(dashboard, route)
    assert status(answer) in (404, 422)
    assert b"root:" not in answer


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_what_is_no_http_is_hung_up_on_without_a_traceback(
    dashboard: Served, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    chunked = f"{method} /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n"
    assert b"Traceback" not in ask(dashboard, chunked.encode())
    assert status(get(dashboard, "/health")) == 200
    assert [record.getMessage() for record in caplog.records] == []


def test_too_much_is_refused_at_once(dashboard: Served) -> None:
    many = "".join(f"x-{n}: 1\r\n" for n in range(10_000))
    assert status(ask(dashboard, f"GET /health HTTP/1.1\r\nHost: localhost\r\n{many}\r\n".encode())) in (400, 431)
    assert status(ask(dashboard, f"GET /health HTTP/1.1\r\nHost: localhost\r\nx: {'y' * 60_000}\r\n\r\n".encode())) in (
        400,
        431,
    )
    assert status(get(dashboard, f"/api/stats?run={'y' * 12_000}")) == 400
    assert status(get(dashboard, f"/api/stats?run={'y' * 2_000}")) == 422
    head = b"POST /api/runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n"
    assert status(ask(dashboard, head + b"x" * 1_000_000)) in (403, 405)


def test_who_asks_too_slowly_is_cut_off(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ASKING", 1.0)
    monkeypatch.setattr(connection, "_LOOK", 0.05)
    with served(base) as where, socket.create_connection(("127.0.0.1", where.port), timeout=10) as link:
        link.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nx-slow: ")
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                # A trickle is no sign of life.
                link.sendall(b"a")
                link.settimeout(0.05)
                if link.recv(10) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        assert time.monotonic() < deadline
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", where.port, timeout=10)) as other:
            other.request("GET", "/health", headers={"Host": "localhost"})
            assert json.load(other.getresponse())["status"] == "ok"


def test_who_reads_nothing_is_cut_off(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "READING", 0.3)
    monkeypatch.setattr(connection, "_LOOK", 0.05)
    with served(base) as where, socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.settimeout(10)
        link.connect(("127.0.0.1", where.port))
        link.sendall(b"GET /api/series?metric=loss HTTP/1.1\r\nHost: localhost\r\n\r\n" * 300)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                link.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            except OSError:
                break
            time.sleep(0.02)
        assert time.monotonic() < deadline


@pytest.mark.parametrize("route", ["/api/stream", "/health"])
def test_more_connections_than_there_may_be_are_turned_away_while_all_are_in_use(
    base: Path, monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    monkeypatch.setattr(connection, "MOST_CONNECTIONS", 4)
    with served(base) as where, contextlib.ExitStack() as held:
        links = [socket.create_connection(("127.0.0.1", where.port), timeout=10) for _ in range(4)]
        for link in links:
            held.callback(link.close)
            link.sendall(f"GET {route} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            while not (seen := link.recv(65536)).endswith((b"}", b"\n\n", b"\n\n\r\n")):
                assert seen
        if route == "/api/stream":
            assert get(where, "/health") == b""
        else:
            # Whoever is silent does not keep others out: the longest idle one makes room.
            assert status(get(where, "/health")) == 200
            with contextlib.suppress(ConnectionResetError):
                assert links[0].recv(1) == b""


@pytest.mark.parametrize(
    "body", ["Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_body_is_neither_read_nor_taken_for_a_request(dashboard: Served, method: str, body: str) -> None:
    first = f"{method} /health HTTP/1.1\r\nHost: localhost\r\n{body}"
    answer = ask(dashboard, first.encode() + b"GET /api/runs HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert status(answer) == (405 if method == "POST" else 413)
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_taken_port_is_told_in_words(dashboard: Served) -> None:
    with pytest.raises(ServeError, match="something serves there already"):
        listen("127.0.0.1", dashboard.port)


def test_any_address_of_this_machine_will_do_where_it_listens_on_all() -> None:
    assert Hosts("0.0.0.0", None).problem([b"192.168.1.5:8081"]) is None
    assert Hosts("127.0.0.1", None).problem([b"192.168.1.5:8081"]) is not None
    assert Hosts("127.0.0.1", "https://gpu.example:1/x").problem([b"gpu.example"]) is None
