"""The bundled QLoRA trainer, and what makes any other training readable: callbacks and a writer for plain loops.

Importing this package loads neither torch nor Transformers.
"""

from __future__ import annotations
