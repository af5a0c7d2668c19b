# SPDX-License-Identifier: GPL-3.0-or-later
"""The backends there are, for whoever chooses one and for whoever loads it.

Blender reads nothing else of a backend; the networks are in `models.backends`, which take their information from here.
"""

from .info import FOLDER_VARIABLE, BackendInfo, BackendOption, CheckpointFile, checkpoint_folder
from .known import BACKENDS, find_backend

__all__ = [
    "BACKENDS",
    "FOLDER_VARIABLE",
    "BackendInfo",
    "BackendOption",
    "CheckpointFile",
    "checkpoint_folder",
    "find_backend",
]
