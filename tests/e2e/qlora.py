"""A real QLoRA training for the daemon to watch, by what `smartmon train` calls, with faults in it.

Run: `python qlora.py SETTINGS FAULTS`, both JSON: settings by name, faults as `{"class": [arguments]}`.
"""

from __future__ import annotations

import json
import sys

from smartmon.demo import faults
from smartmon.errors import SmartmonError
from smartmon.trainer.run import train
from smartmon.trainer.settings import TrainSettings

if __name__ == "__main__":
    settings = TrainSettings.model_validate_json(sys.argv[1])
    spoilers = [getattr(faults, name)(*arguments) for name, arguments in json.loads(sys.argv[2]).items()]
    try:
        train(settings, callbacks=spoilers)
    except SmartmonError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
