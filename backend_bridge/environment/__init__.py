# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's own Python: finding one to make it from, installing into it, asking what it can do."""
