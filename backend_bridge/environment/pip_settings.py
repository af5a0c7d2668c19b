# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the user's settings of pip an installation keeps: how registries are reached, and nothing else.

What decides where and what is installed (`user`, `target`, `prefix`, `dry-run`, `constraint`, `no-index` ...) would
break an environment or change what is in it. What leads to the packages (a mirror, a proxy, a certificate) is needed,
and can do no harm: every file is checked against its hash.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..worker_client.process import popen_options, python_command

_SOURCES = frozenset({"index-url", "extra-index-url", "find-links"})
_CONNECTION = frozenset(
    {"trusted-host", "proxy", "cert", "client-cert", "timeout", "default-timeout", "retries", "keyring-provider"}
    | {"cache-dir"}
)
_LINE = re.compile(r"(?:global|install|:env:)\.([\w-]+)=(.*)")
_TIMEOUT = 60.0  # s; pip itself is imported


def surroundings(settings: Mapping[str, str]) -> dict[str, Any]:
    """Return `popen_options` for a pip that knows these settings and no others."""
    options = popen_options()
    variables = {name: value for name, value in options["env"].items() if not name.upper().startswith("PIP_")}
    kept = {f"PIP_{name.upper().replace('-', '_')}": value for name, value in settings.items()}
    return {**options, "env": {**variables, **kept, "PIP_CONFIG_FILE": os.devnull}}


def read_settings(python: Path) -> dict[str, str]:
    """Return the user's settings that an installation keeps, asked of an environment's pip; {} where it can't say."""
    options = popen_options()
    named = {name: value for name, value in options["env"].items() if name.upper().startswith("PIP_")}
    rest = {name: value for name, value in options["env"].items() if name not in named}
    # Its settings can silence what it says of them, or leave it to one of its files.
    asking = rest | dict.fromkeys(("PIP_QUIET", "PIP_VERBOSE", "PIP_USER", "PIP_GLOBAL", "PIP_SITE"), "0")
    asking |= {name: value for name, value in named.items() if name.upper() == "PIP_CONFIG_FILE"}
    try:
        answer = subprocess.run(
            python_command(python, "-m", "pip", "config", "list"),
            stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT, check=False, **{**options, "env": asking},
        )  # fmt: skip
        found = parse_settings(answer.stdout.decode("utf-8", "replace"))
    except (OSError, subprocess.SubprocessError):
        found = {}
    found |= {name.upper().removeprefix("PIP_").lower().replace("_", "-"): value for name, value in named.items()}
    return {name: value for name, value in found.items() if name in _SOURCES | _CONNECTION and value}


def parse_settings(printed: str) -> dict[str, str]:
    """Return the settings in what `pip config list` prints; those of `pip install` go before the global ones."""
    found: dict[str, str] = {}
    for line in sorted(printed.splitlines(), key=lambda line: line.startswith("install.")):
        if match := _LINE.fullmatch(line.strip()):
            try:
                found[match[1].lower()] = str(ast.literal_eval(match[2]))
            except (ValueError, SyntaxError):
                continue  # a setting that pip itself would stumble over
    return found


def without_sources(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings without the user's own registries, for what may come from one registry alone."""
    return {name: value for name, value in settings.items() if name not in _SOURCES}
