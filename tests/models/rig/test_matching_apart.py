# SPDX-License-Identifier: GPL-3.0-or-later
"""What is matched where a control moves nothing that the driver moves."""

import numpy as np

from magplus.models.rig.matching import match


def test_a_control_that_moves_only_what_keeps_still_is_left_as_it_is():
    columns, asked = np.zeros((1, 2, 20)), np.zeros((3, 2, 20))
    columns[0, 1, :10] = -24.0
    asked[1, 1, 10:] = -0.5
    found = match(np.array([[0.0], [0.01], [0.0]]), columns, asked, {"brows": np.ones(20)})
    assert found.gains.tolist() == [1.0]
