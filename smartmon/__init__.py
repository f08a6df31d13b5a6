"""smartmon watches ML training from outside, keeps the checkpoint that matters, and tells you."""

__version__ = "0.1.0"
