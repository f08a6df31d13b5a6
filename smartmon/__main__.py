"""`python -m smartmon` is the same as `smartmon`."""

from smartmon.cli import main

if __name__ == "__main__":
    main()
