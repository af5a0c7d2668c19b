# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user does, one module a verb."""
