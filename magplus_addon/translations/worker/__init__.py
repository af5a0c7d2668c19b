# SPDX-License-Identifier: GPL-3.0-or-later
"""What the worker and the job folder write, in other languages: one module for each, as in the folder above."""

from __future__ import annotations

from . import de_DE, es, fr_FR, ja_JP, zh_HANS

MESSAGES = {module.__name__.rpartition(".")[2]: module.MESSAGES for module in (de_DE, es, fr_FR, ja_JP, zh_HANS)}
