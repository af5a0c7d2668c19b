# SPDX-License-Identifier: GPL-3.0-or-later
"""MagPlus's own version."""

from __future__ import annotations

import tomllib
from pathlib import Path

MANIFEST = Path(__file__).resolve().parents[2] / "blender_manifest.toml"


def magplus_version() -> str:
    """Return the extension's version; the manifest is the one place where it stands."""
    return str(tomllib.loads(MANIFEST.read_text(encoding="utf-8"))["version"])
