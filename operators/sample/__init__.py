# SPDX-License-Identifier: GPL-3.0-or-later
"""A character and a clip to try MagPlus on, made on this machine from two published packages."""
