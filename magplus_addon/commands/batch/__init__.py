# SPDX-License-Identifier: GPL-3.0-or-later
"""`magplus batch`: a list of shots, carried out step by step: captured, run, imported, rendered."""

from .command import add

__all__ = ["add"]
