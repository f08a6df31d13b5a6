"""The tables, and the steps that bring an older database up to them. A step, once released, is never edited.

Text that cannot be UTF-8 is stored as a BLOB in its TEXT column (see `values.py`); paths are always BLOBs.
"""

from __future__ import annotations

APPLICATION_ID = 0x534D4F4E
"""`SMON` in the file's header: tells our file from anybody else's SQLite file."""

_VERSION_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    path BLOB NOT NULL UNIQUE,
    base_dir BLOB NOT NULL,
    first_seen REAL NOT NULL,
    last_seen REAL NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending',
    attempt INTEGER NOT NULL DEFAULT 1,
    step INTEGER,
    total_steps INTEGER,
    epoch REAL,
    started_at REAL,
    finished_at REAL,
    data TEXT NOT NULL DEFAULT '{}'
);
CREATE TABLE attempts (
    run_id INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    step INTEGER NOT NULL,
    at REAL NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (run_id, attempt)
) WITHOUT ROWID;

CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    metric TEXT NOT NULL,
    UNIQUE (run_id, attempt, metric)
);
CREATE TABLE tail (
    series_id INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
    step INTEGER NOT NULL,
    at REAL NOT NULL,
    value REAL,
    PRIMARY KEY (series_id, step)
) WITHOUT ROWID;
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY,
    series_id INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
    first_step INTEGER NOT NULL,
    last_step INTEGER NOT NULL,
    count INTEGER NOT NULL,
    nonfinite INTEGER NOT NULL,
    summary BLOB NOT NULL,
    body BLOB NOT NULL
);
CREATE UNIQUE INDEX chunk_of_series ON chunks (series_id, first_step, last_step, count, nonfinite);

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    run_id INTEGER REFERENCES runs ON DELETE CASCADE,
    attempt INTEGER,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    step INTEGER,
    message TEXT NOT NULL,
    historic INTEGER NOT NULL DEFAULT 0,
    data TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX event_by_time ON events (at, id);
CREATE INDEX event_by_run ON events (run_id, at, id);
CREATE INDEX event_by_kind ON events (kind, at, id);
CREATE INDEX event_by_run_kind ON events (run_id, kind, at, id);
CREATE INDEX event_that_matters ON events (at, id) WHERE severity <> 'info';
CREATE INDEX event_that_matters_by_run ON events (run_id, at, id) WHERE severity <> 'info';

CREATE TABLE incidents (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    family TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    state TEXT NOT NULL,
    severity TEXT NOT NULL,
    opened_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    resolved_at REAL,
    step INTEGER NOT NULL,
    start_step INTEGER NOT NULL,
    end_step INTEGER NOT NULL,
    anomalies INTEGER NOT NULL,
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    onset_step INTEGER,
    last_good_step INTEGER,
    metric TEXT NOT NULL,
    value REAL,
    expected REAL,
    resolution TEXT NOT NULL,
    historic INTEGER NOT NULL,
    context TEXT NOT NULL,
    UNIQUE (run_id, key)
);
CREATE INDEX incident_open ON incidents (run_id) WHERE state = 'open';
CREATE INDEX incident_by_time ON incidents (opened_at, id);

CREATE TABLE keeps (
    id INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    run_id INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    step INTEGER NOT NULL,
    created_at REAL NOT NULL,
    state TEXT NOT NULL,
    due_at REAL NOT NULL,
    kinds TEXT NOT NULL,
    reasons TEXT NOT NULL,
    severity TEXT NOT NULL,
    hold INTEGER NOT NULL,
    incident_keys TEXT NOT NULL,
    payload TEXT NOT NULL,
    snapshot TEXT NOT NULL DEFAULT '',
    note TEXT NOT NULL DEFAULT ''
);
CREATE INDEX keep_by_run ON keeps (run_id, attempt, step);
CREATE INDEX keep_to_do ON keeps (state, id);

CREATE TABLE snapshots (
    base_dir BLOB NOT NULL,
    name TEXT NOT NULL,
    run TEXT NOT NULL,
    created_at TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (base_dir, name)
) WITHOUT ROWID;
CREATE INDEX snapshot_by_run ON snapshots (run, created_at);

CREATE TABLE deliveries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    notifier TEXT NOT NULL,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    state TEXT NOT NULL,
    run_id INTEGER REFERENCES runs ON DELETE CASCADE,
    incident_id INTEGER,
    event_id INTEGER,
    created_at REAL NOT NULL,
    next_at REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    last_error TEXT NOT NULL DEFAULT '',
    sent_at REAL,
    payload TEXT NOT NULL
);
CREATE INDEX delivery_pending ON deliveries (next_at) WHERE state = 'pending';
CREATE INDEX delivery_by_state ON deliveries (state, seq);

CREATE TABLE cursors (
    run_id INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    source_id TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (run_id, source_id)
) WITHOUT ROWID;
CREATE TABLE judges (run_id INTEGER PRIMARY KEY REFERENCES runs ON DELETE CASCADE, body BLOB NOT NULL)
"""

MIGRATIONS: tuple[str, ...] = (_VERSION_1,)
"""Step N brings version N to N + 1. Statements end at a semicolon; none may hold one inside."""
