# SPDX-License-Identifier: GPL-3.0-or-later
"""What the docstrings show is what comes out."""

from __future__ import annotations

import pytest

from magplus.tests.examples import modules_with_examples, run_examples


@pytest.mark.parametrize("module", modules_with_examples("backend_bridge"))
def test_the_examples_in_docstrings_come_out_as_shown(module: str) -> None:
    run_examples(f"magplus.{module}")
