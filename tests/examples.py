# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples in docstrings (doctest), found by reading sources, so that nothing is imported that has none."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def modules_with_examples(*folders: str) -> list[str]:
    """Return the modules in these folders of the checkout whose docstrings have examples: "models.warp"."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in paths
        if ">>> " in path.read_text("utf-8")
    ]


def run_examples(module: str) -> None:
    """Run the examples of a module, which is named as Python imports it. Fails with what came out otherwise."""
    output: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for example in doctest.DocTestFinder().find(importlib.import_module(module)):
        runner.run(example, out=output.append)
    results = runner.summarize(verbose=False)
    assert not results.failed, "".join(output)
    assert results.attempted, f"{module} has a '>>>' outside of its docstrings"
