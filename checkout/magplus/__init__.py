# SPDX-License-Identifier: GPL-3.0-or-later
"""This checkout as the package `magplus`, for tests, benchmarks, the demo and training: put `checkout/` on the path.

The extension and the installed package have the same modules under a folder of that name; a checkout may have any.
"""

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parents[2])]
