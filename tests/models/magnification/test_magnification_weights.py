# SPDX-License-Identifier: GPL-3.0-or-later
"""The weights that ship are those of the model card."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from magplus.models.magnification import Magnifier
from magplus.models.magnification.magnifier import WEIGHTS

CARD = WEIGHTS.parent.parent / "docs" / "model-card.md"
LISTED = dict(re.findall(r"`(\w+\.safetensors)`[^\n]*`([0-9a-f]{64})`", CARD.read_text(encoding="utf-8")))


def test_the_card_lists_what_ships_and_nothing_else() -> None:
    shipped = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in WEIGHTS.glob("*.safetensors")}
    assert shipped == LISTED
    assert sum(path.stat().st_size for path in WEIGHTS.glob("*.safetensors")) <= 3 * 2**20


@pytest.mark.parametrize("role", ["magplus", "demagplus"])
def test_a_role_is_trained_where_its_weights_ship(role: str) -> None:
    assert Magnifier.load(role, "cpu").trained == (f"{role}.safetensors" in LISTED)  # type: ignore[arg-type]


def test_without_weights_the_solver_does_the_work(tmp_path: Path) -> None:
    assert not Magnifier.load("magplus", "cpu", tmp_path).trained
