# SPDX-License-Identifier: GPL-3.0-or-later
"""A head at rest, in a scene at the rate of the clips."""

import bpy
import pytest

from tests.blender.head import make_head


@pytest.fixture
def rate() -> None:
    bpy.context.scene.render.fps = 25


@pytest.fixture
def head() -> bpy.types.Object:
    return make_head()


@pytest.fixture
def keys(head: bpy.types.Object) -> bpy.types.bpy_prop_collection:
    return head.data.shape_keys.key_blocks
