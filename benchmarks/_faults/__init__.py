# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be wrong with footage, laid over films whose truth is known; one module for each of its reasons."""

from .compression import of_compression
from .covers import before_the_face
from .cuts import of_cuts
from .driver import of_the_driver
from .editing import of_editing
from .fault import APEX, COMPRESSION, COUNT, HIDDEN, LIGHT, PEAK, SIZE, Fault, Values
from .framing import of_framing
from .light import of_light
from .passing import of_passing
from .processing import of_processing
from .screens import of_screens
from .shots import of_shots
from .timing import of_time

# The pairs of people take turns, by the order of these: `footage` relies on it for figures that can be repeated.
GROUPS = (
    of_light,
    of_cuts,
    before_the_face,
    of_framing,
    of_time,
    of_the_driver,
    of_passing,
    of_compression,
    of_editing,
    of_screens,
    of_shots,
    of_processing,
)

__all__ = ["APEX", "COMPRESSION", "COUNT", "GROUPS", "HIDDEN", "LIGHT", "PEAK", "SIZE", "Fault", "Values"]
