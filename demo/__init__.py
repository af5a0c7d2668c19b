# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: a character from nothing, a real micro-expression put on it, and pictures to look at."""
