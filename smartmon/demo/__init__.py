"""The demonstration: a run with real trouble in it, the real daemon beside it, and what becomes of it."""
