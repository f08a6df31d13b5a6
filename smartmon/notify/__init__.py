"""Telling people and programs: routing, wording, and the short-lived processes that carry messages out.

Nothing here keeps state between messages; the outbox (`smartmon.outbox`) and the database do.
"""
