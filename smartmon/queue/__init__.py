"""The queue: data files that wait in an inbox are trained one after another, each on the adapter of the one before.

What lies where is the truth: `inbox/` waits, `active/` trains, `done/` and `failed/` are over. One small file holds the
rest (priorities, settings, what was begun). The trainer is another process; nothing here loads it.
"""

from __future__ import annotations
