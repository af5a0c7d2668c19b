# SPDX-License-Identifier: GPL-3.0-or-later
"""A Blender of our own with MagPlus in it (Python with bpy); the user's Blender settings are left alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MODULE = "bl_ext.user_default.magplus"


@contextmanager
def own_blender(resources: Path, *, extension: Path | None = None, source: Path | None = None) -> Iterator[None]:
    """Run the block in Blender with MagPlus switched on. Must come before the first `import bpy` of the process.

    resources: folder that stands in for the user's Blender settings. extension: a zip to install there. source: a
    checkout to link there instead. With neither, MagPlus is there from an earlier call.
    """
    os.environ["BLENDER_USER_RESOURCES"] = str(resources.resolve())  # read once, when bpy is imported
    if source is not None:
        link_checkout(resources, source)
    import bpy

    # isort: split
    import addon_utils

    if extension is not None:
        bpy.ops.extensions.package_install_files(
            filepath=str(extension.resolve()), repo="user_default", enable_on_install=True, overwrite=True
        )
    else:
        addon_utils.enable(MODULE, default_set=True)
    try:
        yield
    finally:
        # Blender 4.2 crashes and 4.5 hangs when the interpreter ends with operator classes registered.
        addon_utils.disable(MODULE)


def link_checkout(resources: Path, source: Path) -> None:
    """Link a checkout into Blender's settings in `resources` as the extension, in place of one linked before."""
    link = resources / "extensions" / "user_default" / "magplus"
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink():
        link.unlink()
    link.symlink_to(source.resolve(), target_is_directory=True)
