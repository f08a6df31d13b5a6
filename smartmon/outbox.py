"""Deliver what the outbox table holds: at least once, in order per notifier, until it arrives or is given up.

A row is claimed (`sending`), carried out by a short-lived process, and settled, each in a transaction of its own. A
crash leaves rows in `sending`; `recover` makes them pending again, so the worst is one repeat, with the same id.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from smartmon.config import Config
from smartmon.errors import SmartmonError
from smartmon.notify import hooks, queue, routing
from smartmon.notify import send as sending
from smartmon.notify.compose import Composer
from smartmon.notify.process import Process, wait
from smartmon.notify.redact import Redactor
from smartmon.notify.send import Result
from smartmon.store import Store
from smartmon.store.rows import DeliveryRow
from smartmon.text import clean

log = structlog.get_logger(__name__)

PARALLEL = 4
"""Sending processes at a time: each takes some 45 MB for a second."""
_SLICE = 0.2
_SENT_READ = 1000
_SOON = 10.0


@dataclass(frozen=True, slots=True)
class _Flight:
    """One message on its way."""

    notifier: str
    rows: tuple[DeliveryRow, ...]
    told: DeliveryRow
    """The row whose id the message has."""
    what: str
    limit: float
    process: Process | None
    """None: it could not even start."""

    @property
    def is_hook(self) -> bool:
        return self.notifier.startswith(routing.HOOK)


@dataclass(frozen=True, slots=True)
class _Landed:
    """One message whose result is known but not yet stored."""

    flight: _Flight
    result: Result
    at: float


class Outbox:
    """The sender. `cancel` says that the daemon stops, `beat` that this worker lives; `rng` gives the jitter."""

    def __init__(
        self,
        store: Store,
        config: Config,
        *,
        cancel: Callable[[], bool],
        beat: Callable[[], None],
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._config = config
        self._cancel = cancel
        self._beat = beat
        self._rng = rng
        self._redactor = Redactor(config)
        self._flights: list[_Flight] = []
        self._landed: list[_Landed] = []
        self._told_error: dict[str, str] = {}

    def recover(self, now: float) -> int:
        """Make the rows that a crash left in `sending` due again; returns how many. Called once at start."""
        with self._store.transaction():
            rows = self._store.deliveries(states=("sending",), limit=-1)
            for row in rows:
                self._store.update_delivery(row.id, state="pending", next_at=now)
        return len(rows)

    def deliver_one(self, now: float) -> bool:
        """Send what is due, at most one message of each notifier; returns whether there was anything to send.

        While one notifier hangs, the others go on. When cancelled, what is on its way is taken back and due again.
        """
        begun = looked = time.monotonic()
        if self._cancel():
            self.close()
            return False
        self._settle()
        any_work = self._start_ready(now)
        while self._flights:
            self._beat()
            if self._cancel():
                self.close()
                return False
            done = wait([flight.process for flight in self._flights if flight.process is not None], _SLICE)
            at = now + (time.monotonic() - begun)
            self._land(done, at)
            self._settle()
            if self._flights and (done or time.monotonic() - looked >= 1.0):
                looked = time.monotonic()
                self._start_ready(at)
        return any_work

    def next_at(self, now: float) -> float | None:
        """When `deliver_one` should be called next if nothing new comes; None for never."""
        moments = []
        for name, rows in self._queues().items():
            choice = queue.choose(rows, now, self._rules(name))
            moment = choice.until if isinstance(choice, queue.Wait) else now
            if moment is not None:
                moments.append(moment)
        return min(moments, default=None)

    def due_soon(self, now: float) -> bool:
        """Whether something will be due within seconds, as a message that waits for its snapshot is."""
        moment = self.next_at(now)
        return moment is not None and moment <= now + max(_SOON, self._config.alerts.wait_for_snapshot)

    def close(self) -> None:
        """Take back what is on its way: end the processes, make the rows pending as they were."""
        flights, self._flights = self._flights, []
        for flight in flights:
            if flight.process is not None:
                flight.process.kill()
        with self._store.transaction():
            for flight in flights:
                for row in flight.rows:
                    self._store.update_delivery(row.id, state="pending", attempts=row.attempts)

    # What to send

    def _queues(self) -> dict[str, list[DeliveryRow]]:
        rows: dict[str, list[DeliveryRow]] = defaultdict(list)
        if self._store.next_delivery_at() is not None:
            for row in self._store.deliveries(states=("pending",), limit=-1):
                rows[row.notifier].append(row)
        return rows

    def _rules(self, name: str) -> queue.Rules[DeliveryRow]:
        if name.startswith(routing.HOOK):
            return queue.Rules(0.0, 2**63, ready=lambda _: True, free_at=lambda _: 0.0)
        alerts = self._config.alerts
        composer = Composer(self._store, self._config)
        return queue.Rules(alerts.wait_for_snapshot, alerts.digest_runs, ready=composer.ready, free_at=self._free_at)

    def _free_at(self, row: DeliveryRow) -> float:
        """When the rate cap lets the row's run speak again to the row's notifier."""
        sent = [
            told.sent_at
            for told in self._store.deliveries(states=("sent",), limit=_SENT_READ)
            if told.run_id == row.run_id
            and told.notifier == row.notifier
            and told.sent_at is not None
            and told.severity != "critical"
            and "within" not in told.payload
        ]
        return sorted(sent)[-queue.CAP] + queue.CAP_WINDOW if len(sent) >= queue.CAP else 0.0

    def _start_ready(self, now: float) -> bool:
        """Start the next message of each notifier that has none on its way; returns whether there was one."""
        busy = {flight.notifier for flight in self._flights}
        started = False
        for name, rows in self._queues().items():
            if len(self._flights) >= PARALLEL:
                break
            if name not in busy:
                started |= self._start_next(name, rows, now)
        self._settle()
        return started

    def _start_next(self, name: str, rows: list[DeliveryRow], now: float) -> bool:
        rules = self._rules(name)
        while rows:
            choice = queue.choose(rows, now, rules)
            if isinstance(choice, queue.Wait):
                return False
            if isinstance(choice, queue.Send):
                self._start(name, choice, now)
                return True
            held = choice.row
            self._store.update_delivery(held.id, next_at=choice.until, payload={**held.payload, "capped": True})
            rows = [row for row in rows if row.id != held.id]
        return False

    # Sending

    def _start(self, name: str, send: queue.Send[DeliveryRow], now: float) -> None:
        with self._store.transaction():
            for row in send.rows:
                payload = {"tried": now, **row.payload}
                self._store.update_delivery(row.id, state="sending", attempts=row.attempts + 1, payload=payload)
        target = self._target(name)
        what, limit, process, permanent = send.told.kind, 0.0, None, False
        try:
            if target is None:
                kind = "hook" if name.startswith(routing.HOOK) else "notifier"
                permanent, error = True, f"the config has no such {kind} any more"
            elif name.startswith(routing.HOOK):
                what, limit, process = self._run_hook(target, send)
            else:
                what, limit, process = self._run_child(target, send, now)
        except SmartmonError as trouble:
            error = str(trouble)
        except OSError as trouble:
            error = f"cannot start: {trouble.strerror or trouble}"
        except Exception as trouble:  # noqa: BLE001 - one row that cannot be worded must not hold up all others
            permanent, error = True, f"cannot be worded: {type(trouble).__name__}: {trouble}"
        flight = _Flight(name, send.rows, send.told, what, limit, process)
        if process is not None:
            self._flights.append(flight)
        else:
            result = Result(False, permanent=permanent, error=self._redactor.clean(clean(error)))
            self._landed.append(_Landed(flight, result, now))

    def _target(self, name: str) -> Any:
        if name.startswith(routing.HOOK):
            return routing.hooks(self._config).get(name)
        return next((notifier for notifier in self._config.notifiers if notifier.name == name), None)

    def _run_child(self, notifier: Any, send: queue.Send[DeliveryRow], now: float) -> tuple[str, float, Process]:
        composer = Composer(self._store, self._config)
        message, chart = composer.message(send, now), composer.chart(send)
        url, limit = notifier.resolve(), self._config.alerts.timeout
        self._redactor.add(url)
        # Whatever a run wrote about itself, a secret does not travel from one notifier to another.
        title, body = self._redactor.clean(message.title), self._redactor.clean(message.body)
        if chart is not None:
            chart |= {key: self._redactor.clean(chart[key]) for key in ("run", "metric", "kind")}
        process = sending.start(url, title, body, severity=message.severity, limit=limit, chart=chart)
        return title, limit, process

    def _run_hook(self, hook: Any, send: queue.Send[DeliveryRow]) -> tuple[str, float, Process]:
        row = send.told
        run = Composer(self._store, self._config).run(row.run_id)
        told = hooks.document(
            row.payload,
            delivery_id=row.id,
            severity=row.severity.value,
            created_at=row.created_at,
            run_path=run.path if run is not None else None,
            base_dir=run.base_dir if run is not None else None,
        )
        folder = self._config.file.parent if self._config.file is not None else self._config.base_dirs[0]
        what = clean(f"{told['event']} {told['kind']} - {told['run']}")
        return what, hook.timeout, hooks.start(hook, told, folder.absolute(), self._redactor)

    def _land(self, done: Sequence[Process], at: float) -> None:
        for flight in [flight for flight in self._flights if flight.process in done]:
            assert flight.process is not None
            self._flights.remove(flight)
            if flight.is_hook:
                ok, error = hooks.outcome(flight.process, flight.limit, self._redactor)
                result = Result(ok, permanent=not ok, error=error)
            else:
                result = sending.result(flight.process, self._redactor, flight.limit)
            self._landed.append(_Landed(flight, result, at))

    # Results

    def _settle(self) -> None:
        """Store results. One that cannot be stored now (a full disk) stays and is tried first next time."""
        while self._landed:
            self._store_result(self._landed[0])
            self._landed.pop(0)

    def _store_result(self, landed: _Landed) -> None:
        """Settle the rows of one message: sent, due again later, or dead."""
        flight, result, at = landed.flight, landed.result, landed.at
        waited = at - min(float(row.payload.get("tried", at)) for row in flight.rows)
        final = result.permanent or flight.is_hook or waited >= self._config.alerts.give_up
        dead = final and not result.ok
        delay = queue.backoff(flight.told.attempts + 1, self._rng(), result.retry_after)
        with self._store.transaction():
            for row in flight.rows:
                if result.ok:
                    self._store.update_delivery(
                        row.id, state="sent", sent_at=at, last_error="", payload=_sent_payload(row, flight)
                    )
                elif dead:
                    self._store.update_delivery(row.id, state="dead", last_error=result.error)
                else:
                    self._store.update_delivery(row.id, state="pending", next_at=at + delay, last_error=result.error)
            if result.ok or dead:
                self._add_event(flight, result, at)
        self._log(flight, result, dead=dead)

    def _add_event(self, flight: _Flight, result: Result, at: float) -> None:
        runs = {row.run_id for row in flight.rows}
        if result.ok:
            said = f": {result.error}" if result.error else ""
            happened = f"{flight.notifier} ran ({flight.what}){said}"
            message = happened if flight.is_hook else f"alert delivered to {flight.notifier}: {flight.what}"
        elif flight.is_hook:
            message = f"{flight.notifier} failed ({flight.what}): {result.error}"
        else:
            message = f"alert to {flight.notifier} given up: {result.error}"
        self._store.add_event(
            at=at,
            kind="alert_delivered" if result.ok else "alert_failed",
            message=clean(message),
            run_id=flight.told.run_id if len(runs) == 1 else None,
            severity="info" if result.ok else "warning",
            data={
                "notifier": flight.notifier,
                "delivery": flight.told.id,
                "attempts": flight.told.attempts + 1,
                "messages": len(flight.rows),
                "error": "" if result.ok else result.error,
            },
        )

    def _log(self, flight: _Flight, result: Result, *, dead: bool) -> None:
        name = flight.notifier
        fields = {"notifier": name, "delivery": flight.told.id, "attempts": flight.told.attempts + 1}
        if result.ok:
            self._told_error.pop(name, None)
            log.info("alert.delivered", **fields)
        elif dead:
            log.error("alert.given_up", error=result.error, **fields)
        elif self._told_error.get(name) != result.error:
            # Told when it starts and when it changes, not on every try.
            self._told_error[name] = result.error
            log.warning("alert.failed", error=result.error, **fields)


def _sent_payload(row: DeliveryRow, flight: _Flight) -> dict[str, Any]:
    """The payload of a row that was sent; `within` is the id of the message that told it, if that was another's."""
    payload = {key: value for key, value in row.payload.items() if key != "capped"}
    return payload if row is flight.told else {**payload, "within": flight.told.id}


def retry(store: Store, row: DeliveryRow, now: float) -> None:
    """Make a dead or waiting row due now, as if it had never been tried."""
    payload = {key: value for key, value in row.payload.items() if key not in ("tried", "capped")}
    store.update_delivery(row.id, state="pending", next_at=now, attempts=0, payload=payload)
