# SPDX-License-Identifier: GPL-3.0-or-later
"""A list of shots to begin with: every entry that there is, explained, made from the parser that reads them."""

from __future__ import annotations

import argparse

from .. import animate
from ..parser import Parser
from .shots import OWN_KEYS

_HEAD = """\
# Shots for `blender -b --command magplus batch THIS_FILE`.
#
# [defaults] holds for every shot that doesn't say otherwise. Paths are relative to this file. An entry that is not
# given is taken from the settings in the .blend. A shot with several avatars, avatar = ["A", "B"], is one for each.
# The same as a table: save it as .csv, a column an entry, and a row named * for the defaults.

[defaults]
file = "character.blend"
shape_keys = true

[[shot]]
name = "sq010_sh0010"
driving = "clips/frown.mp4"
trim = [5.7, 7.2]

# Every entry:
"""


def template() -> str:
    """Return the text of a commented list."""
    parser = Parser(prog="shot", add_help=False)
    animate.add_options(parser)
    lines = [_HEAD.rstrip()]
    for key, description in OWN_KEYS.items():
        lines.append(f"#   {key:<16} {description}")
    for action in parser._actions:  # argparse has no public way to list them
        lines.append(f"#   {action.dest:<16} {_explained(action)}")
    return "\n".join(lines) + "\n"


def _explained(action: argparse.Action) -> str:
    description = action.help or ""
    if action.choices is not None:
        return ": ".join(filter(None, (description, " | ".join(map(str, action.choices)))))
    if action.nargs == 0:
        return f"{description}: true | false"
    return description
