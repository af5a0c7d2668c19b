# SPDX-License-Identifier: GPL-3.0-or-later
"""Install the extension's zip into a Blender of its own and call MagPlus's command line (Python with bpy).

python demo/command.py --resources FOLDER --extension magplus.zip --file character.blend animate --driving ...
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

MODULE = "bl_ext.user_default.magplus"


def main() -> int:
    """Do what the options say and return MagPlus's exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resources", type=Path, required=True, help="stands in for the user's Blender settings")
    parser.add_argument("--extension", type=Path, required=True, help="the extension's zip")
    parser.add_argument("--file", type=Path, required=True, help="the .blend to open")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="MagPlus's own arguments")
    options = parser.parse_args()

    os.environ["BLENDER_USER_RESOURCES"] = str(options.resources.resolve())  # read once, when bpy is imported
    import bpy

    # isort: split
    import addon_utils

    bpy.ops.extensions.package_install_files(
        filepath=str(options.extension.resolve()), repo="user_default", enable_on_install=True, overwrite=True
    )
    bpy.ops.wm.open_mainfile(filepath=str(options.file.resolve()))
    try:
        return int(importlib.import_module(f"{MODULE}.magplus_addon.commands").main(options.command))
    finally:
        # Blender 4.2 crashes and 4.5 hangs when the interpreter ends with operator classes registered.
        addon_utils.disable(MODULE)


if __name__ == "__main__":
    sys.exit(main())
