# SPDX-License-Identifier: GPL-3.0-or-later
"""One command of the working tree's extension on a file, in its own Blender: `one_command.py BLEND COMMAND ...`."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from pathlib import Path

ROOT, MODULE = Path(__file__).resolve().parents[2], "bl_ext.user_default.magplus"


def main(blend: str, *command: str) -> int:
    resources = Path(tempfile.mkdtemp(prefix="magplus-command-"))
    os.environ["BLENDER_USER_RESOURCES"] = str(resources)
    repository = resources / "extensions" / "user_default"
    repository.mkdir(parents=True)
    (repository / "magplus").symlink_to(ROOT, target_is_directory=True)
    import bpy  # noqa: I001 - puts Blender's own modules on the path
    import addon_utils

    addon_utils.enable(MODULE, default_set=True)
    bpy.ops.wm.open_mainfile(filepath=blend)
    print("tempdir", bpy.app.tempdir, flush=True)
    return int(importlib.import_module(f"{MODULE}.magplus_addon.commands").main(list(command)))


if __name__ == "__main__":
    exit_code = main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(exit_code)  # Blender 4.2 crashes and 4.5 hangs at exit where classes are registered
