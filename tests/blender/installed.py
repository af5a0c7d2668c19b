# SPDX-License-Identifier: GPL-3.0-or-later
"""Install the zip in a Blender without any settings, use it, take it away; prints what was found as JSON.

Run in a process of its own, as Blender reads where its settings are only once: `installed.py ZIP [--file BLEND]
[COMMAND ...]`, where the command is one of the extension's own, run while it is installed.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

RESOURCES = Path(tempfile.mkdtemp(prefix="magplus-installed-"))
os.environ["BLENDER_USER_RESOURCES"] = str(RESOURCES)

import bpy  # noqa: E402

MODULE = "bl_ext.user_default.magplus"


def main(zip_path: str, *command: str) -> dict[str, object]:
    import addon_utils

    found: dict[str, object] = {}
    modules_before = set(sys.modules)
    bpy.ops.extensions.package_install_files(
        filepath=zip_path, repo="user_default", enable_on_install=True, overwrite=True
    )
    found["enabled"] = MODULE in bpy.context.preferences.addons
    folder = Path(sys.modules[MODULE].__file__).parent
    found["from"] = str(folder.relative_to(RESOURCES))
    commands = importlib.import_module(f"{MODULE}.magplus_addon.commands")
    if command[:1] == ("--file",):
        bpy.ops.wm.open_mainfile(filepath=command[1])
        command = command[2:]
    if command:
        with contextlib.redirect_stderr(io.StringIO()) as printed:
            found["exit_code"] = int(commands.main(list(command)))
        found["printed"] = printed.getvalue()
        found["actions"] = [action.name for action in bpy.data.actions]
    data = Path(bpy.utils.extension_path_user(MODULE, create=True))
    (data / "something.txt").write_text("kept by the user")

    bpy.ops.preferences.addon_disable(module=MODULE)
    found["types"] = [name for name in dir(bpy.types) if name.upper().startswith("MAGPLUS")]
    found["properties"] = [name for name in dir(bpy.types.Scene) if "magplus" in name]
    found["handlers"] = [
        handler.__name__
        for name in dir(bpy.app.handlers)
        if isinstance(handlers := getattr(bpy.app.handlers, name), list)
        for handler in handlers
        if "magplus" in getattr(handler, "__module__", "")
    ]
    found["foreign_modules"] = sorted(
        name
        for name in set(sys.modules) - modules_before
        if name.split(".")[0] in {"models", "operators", "backend_bridge", "magplus_addon", "torch", "cv2", "scipy"}
    )
    bpy.ops.preferences.addon_enable(module=MODULE)
    [index] = [i for i, repo in enumerate(bpy.context.preferences.extensions.repos) if repo.module == "user_default"]
    bpy.ops.extensions.package_uninstall(repo_index=index, pkg_id="magplus")
    found["files"] = [str(path.relative_to(RESOURCES)) for path in RESOURCES.rglob("*magplus*")]
    found["modules"] = sorted(name for name in sys.modules if name.startswith(MODULE))
    found["in_preferences"] = MODULE in {*addon_utils.addons_fake_modules, *bpy.context.preferences.addons.keys()}
    return found


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        result = main(*sys.argv[1:])
    shutil.rmtree(RESOURCES, ignore_errors=True)
    print(json.dumps(result))
    sys.stdout.flush()
    os._exit(0)  # Blender 4.x may not survive an orderly end of the interpreter
