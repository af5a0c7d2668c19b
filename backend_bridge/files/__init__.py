# SPDX-License-Identifier: GPL-3.0-or-later
"""The ground: errors that a person reads, locks, files that are written whole or not at all."""
