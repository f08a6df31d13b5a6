# ruff: noqa: PTH100, PTH120, UP031, UP036, BLE001
# Python runs this at its start, in every process below `smartmon exec`. It must be valid in any version, take no time,
# leave no trace on sys.path, and break nothing. An installation's own sitecustomize is run as if we were not here.
import os
import sys

_folder = os.path.dirname(os.path.abspath(__file__))
try:
    if sys.version_info >= (3, 8):
        __import__("_smartmon_hook").listen()
except Exception as _problem:
    sys.stderr.write("smartmon: cannot look into this process (%s); it runs on without\n" % _problem)
sys.path[:] = [_path for _path in sys.path if os.path.abspath(_path or ".") != _folder]
getattr(sys, "path_importer_cache", {}).pop(_folder, None)
_ours = sys.modules.pop("sitecustomize", None)
try:
    __import__("sitecustomize")
except ImportError as _problem:
    if getattr(_problem, "name", "sitecustomize") != "sitecustomize":
        raise
finally:
    # The import that runs us looks for itself under this name.
    if _ours is not None:
        sys.modules.setdefault("sitecustomize", _ours)
