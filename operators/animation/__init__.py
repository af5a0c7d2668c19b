# SPDX-License-Identifier: GPL-3.0-or-later
"""Time, keys, layers, markers and strength: everything that is written into a file's animation."""
