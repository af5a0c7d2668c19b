# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the demo's person (worker's Python): geometry, skin and hair for `character.py` to turn into a .blend."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "checkout"))

from magplus.models.training.person import make_person

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--tone", type=float, default=0.45, help="of the skin, from 0, light, to 1, dark")
    options = parser.parse_args()
    make_person(options.wheel, options.folder, options.seed, options.tone)
