# SPDX-License-Identifier: GPL-3.0-or-later
"""x"""

MESSAGES: dict[str, str] = {}
