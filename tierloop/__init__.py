"""What a person does with a stack, and the one name below which every room is imported."""

import os

from tierloop.contract.version import __version__ as __version__

# onnxruntime would keep an identifier below the user's home, and report what it does.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
