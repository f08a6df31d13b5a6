from __future__ import annotations

import math

import pytest

from smartmon.sources.jsontext import MAX_DEPTH, BadJson, load_object, loads


@pytest.mark.parametrize("token", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_nonfinite_tokens_are_kept(token: bytes):
    assert not math.isfinite(load_object(b'{"loss": ' + token + b"}")["loss"])


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 900, 2_000, 100_000])
def test_deep_nesting_is_malformed(depth: int):
    with pytest.raises(BadJson, match="nested deeper"):
        loads(b'{"a": ' + b"[" * depth + b"]" * depth + b"}")


def test_many_brackets_side_by_side_are_fine():
    assert len(loads(b"[" + b"[],{}," * 500 + b"1]")) == 1001


def test_a_number_of_5000_digits_does_not_cost_the_row():
    row = load_object(b'{"step": 5, "loss": 1.5, "big": ' + b"9" * 5000 + b', "low": -' + b"9" * 5000 + b"}")
    assert row == {"step": 5, "loss": 1.5, "big": math.inf, "low": -math.inf}


def test_of_duplicate_keys_the_last_wins():
    assert load_object(b'{"loss": 1, "loss": 2}') == {"loss": 2}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_other_encodings_are_read(encoding: str):
    assert load_object('{"loss": 1, "prompt": "é"}'.encode(encoding)) == {"loss": 1, "prompt": "é"}


def test_latin_1_does_not_cost_the_loss():
    assert load_object('{"loss": 1, "prompt": "é"}'.encode("latin-1"))["loss"] == 1


@pytest.mark.parametrize(
    ("data", "kind"),
    [(b"[1]", "a list"), (b'"x"', "a string"), (b"3", "a number"), (b"null", "null"), (b"true", "true")],
)
def test_anything_but_an_object_is_named(data: bytes, kind: str):
    with pytest.raises(BadJson, match=kind):
        load_object(data)


@pytest.mark.parametrize("data", [b"", b" \n", b"\0\0\0", b'{"loss": 1', b"{'loss': 1}", b"\xff\xfe\x00", b"\x80abc"])
def test_what_is_no_json_is_malformed(data: bytes):
    with pytest.raises(BadJson):
        load_object(data)
