# SPDX-License-Identifier: GPL-3.0-or-later
"""What the docstrings of Blender's side show is what comes out."""

from __future__ import annotations

import pytest

from magplus.tests.examples import modules_with_examples, run_examples


@pytest.mark.parametrize("module", modules_with_examples("operators", "magplus_addon"))
def test_the_examples_in_docstrings_come_out_as_shown(extension: str, module: str) -> None:
    run_examples(f"{extension}.{module}")
