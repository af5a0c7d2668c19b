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

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "checkout"))

from magplus.demo.own_blender import MODULE, own_blender


def main() -> int:
    """Do what the options say and return MagPlus's exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resources", type=Path, required=True, help="stands in for the user's Blender settings")
    parser.add_argument("--extension", type=Path, help="the extension's zip")
    parser.add_argument("--source", type=Path, help="a checkout, instead of a zip")
    parser.add_argument("--file", type=Path, help="the .blend to open")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="MagPlus's own arguments")
    options = parser.parse_args()

    with own_blender(options.resources, extension=options.extension, source=options.source):
        import bpy

        if options.file is not None:
            bpy.ops.wm.open_mainfile(filepath=str(options.file.resolve()))
        return int(importlib.import_module(f"{MODULE}.magplus_addon.commands").main(options.command))


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)  # Blender 4 as a module may not survive an orderly end of the interpreter
