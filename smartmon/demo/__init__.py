"""The demonstration: a real training with real trouble in it, the real daemon beside it, and what becomes of both."""
