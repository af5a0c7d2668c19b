# SPDX-License-Identifier: GPL-3.0-or-later
"""MagPlus: put a real person's micro-expression on a character.

The imports are inside the functions so that tools which import this package without Blender (pytest, type checkers)
do not drag in `bpy`.
"""


def register() -> None:
    """Switch the add-on on."""
    from . import magplus_addon

    magplus_addon.register()


def unregister() -> None:
    """Switch it off again."""
    from . import magplus_addon

    magplus_addon.unregister()
