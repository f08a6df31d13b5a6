"""The judge of the detectors: smartmon and its peers' rules over the same curves."""
