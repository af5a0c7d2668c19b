# SPDX-License-Identifier: GPL-3.0-or-later
"""What `dev.py` stands on: environments, the stages of the tests, the locked lists of packages."""
