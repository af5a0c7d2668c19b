# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension's zip, made and checked by Blender's own builder: the stand-alone program in every bpy wheel."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def build(folder: Path) -> Path:
    """Build the extension from the working tree and return the zip."""
    zip_path = folder / "magplus.zip"
    scripts = _scripts()
    tags = scripts / "modules/_bpy_internal/extensions/tags.py"
    _run("build", "--source-dir", ROOT, "--output-filepath", zip_path, "--valid-tags", tags)
    return zip_path


def validate(zip_path: Path) -> str:
    """Let the builder check a zip; return what it says. Raises `AssertionError` with its words when it complains."""
    return _run("validate", zip_path)


def _run(verb: str, *arguments: str | Path) -> str:
    program = _scripts() / "addons_core/bl_pkg/cli/blender_ext.py"
    command = [sys.executable, str(program), verb, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def _scripts() -> Path:
    """Return Blender's folder of scripts inside the wheel."""
    spec = find_spec("bpy")
    assert spec is not None and spec.origin is not None
    return next(Path(spec.origin).parent.glob("*.*/scripts"))
