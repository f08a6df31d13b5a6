"""The detectors: each a config section with its parameters, and a small state that one observation at a time moves."""
