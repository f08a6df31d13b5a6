"""`python -m smartmon.demo` is the same as `smartmon demo`."""

from smartmon.cli import main

if __name__ == "__main__":
    main(["demo"])
