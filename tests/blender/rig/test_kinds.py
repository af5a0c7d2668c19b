# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of control keeps its contract, and another kind needs nothing but its class and a line in the registry."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from bl_ext.user_default.magplus.backend_bridge.rig.basis import Control
from bl_ext.user_default.magplus.magplus_addon import control_list
from bl_ext.user_default.magplus.magplus_addon.commands import main
from bl_ext.user_default.magplus.operators.animation.destination import LAYER, NEW_ACTION, Destination
from bl_ext.user_default.magplus.operators.bake import bake_controls
from bl_ext.user_default.magplus.operators.measure_controls import choice_of
from bl_ext.user_default.magplus.operators.rig.controls import LiveChannel, RigControl, restored
from bl_ext.user_default.magplus.operators.rig.face_controls import chosen_controls
from bl_ext.user_default.magplus.operators.rig.face_rig import FaceRig
from bl_ext.user_default.magplus.operators.rig.kinds import KINDS
from bl_ext.user_default.magplus.operators.rig.kinds.control_kind import ControlKind, Found
from bl_ext.user_default.magplus.operators.rig.kinds.property import property_controls

from tests.blender.head import add_armature, add_camera, bind, dump, make_head, quick_render
from tests.blender.jobs import pulse, solved

SIDES = {"L": 1, "R": -1}


class ConstraintInfluence(ControlKind):
    """How strongly an object's constraints hold: a kind as somebody would add it."""

    name = "constraint of this test"
    label = "Constraint"
    icon = "CONSTRAINT"
    limits = (0.0, 1.0)

    def find(self, rig: FaceRig) -> Found:
        """Return the influence of the constraints on the face and on what acts on it."""
        found: list[RigControl] = []
        excluded: dict[str, str] = {}
        for obj in (*rig.meshes, *rig.acting):
            for constraint in obj.constraints:
                channel = LiveChannel(obj, constraint.path_from_id("influence"))
                name = f"{obj.name} {constraint.name}"
                if reason := self.key_problem(channel):
                    excluded[name] = reason
                    continue
                control = Control(
                    name, self.name, obj.name, channel.path, channel.read(), 0.0, 1.0,
                    part=obj.name, motion=constraint.name,
                )  # fmt: skip
                found.append(RigControl(control, (channel,), 0.25))
        return found, excluded


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A head with controls of every kind; the corners of its mouth hang on empties, which constraints pull outwards."""
    assert ConstraintInfluence.name not in KINDS, "it must not hide a kind that ships"
    monkeypatch.setitem(KINDS, ConstraintInfluence.name, ConstraintInfluence())
    scene = quick_render(320, 240)
    scene.render.fps, scene.render.fps_base = 25, 1.0
    add_camera()
    head = make_head()
    head["grin"] = 0.0
    head.id_properties_ui("grin").update(soft_min=0.0, soft_max=1.0)
    co = np.empty((len(head.data.vertices), 3), np.float32)
    head.data.vertices.foreach_get("co", co.ravel())
    hooks = {}
    for side, sign in SIDES.items():
        hook, goal = (bpy.data.objects.new(f"{name}.{side}", None) for name in ("corner", "goal"))
        hook.location, goal.location = (0.3 * sign, -1, -0.3), (0.6 * sign, -1, -0.3)
        for obj in (hook, goal):
            scene.collection.objects.link(obj)
        pull = hook.constraints.new("COPY_LOCATION")
        pull.name, pull.target, pull.influence = "Pull", goal, 0.0
        corner = head.vertex_groups.new(name=hook.name)
        corner.add(np.flatnonzero(np.linalg.norm(co - hook.location, axis=1) < 0.3).tolist(), 1.0, "REPLACE")
        modifier = head.modifiers.new(hook.name, "HOOK")
        modifier.object, modifier.vertex_group, modifier.falloff_type = hook, hook.name, "NONE"
        bpy.context.view_layer.update()
        modifier.matrix_inverse = hook.matrix_world.inverted()
        hooks[side] = hook
    bind(head, add_armature({"jaw": (0, 0, -0.5)}), "jaw")
    scene.magplus.avatar = head
    bpy.context.view_layer.update()
    return SimpleNamespace(head=head, hooks=hooks, settings=scene.magplus)


@pytest.mark.parametrize("name", [*KINDS, ConstraintInfluence.name])
def test_a_kind_keeps_its_contract(rig: SimpleNamespace, name: str) -> None:
    kind = KINDS[name]
    assert kind.name == name and kind.label
    icons = bpy.types.UILayout.bl_rna.functions["label"].parameters["icon"].enum_items
    assert kind.icon in icons
    before = dump()
    found, excluded = kind.find(FaceRig.around((rig.head,)))
    assert dump() == before, "looking changes nothing"
    names = [each.control.name for each in found]
    assert names and len(set(names)) == len(names) and not set(names) & set(excluded)
    for each in found:
        control, channel = each.control, each.channels[0]
        assert control.kind == name and control.part
        assert control.low <= control.rest <= control.high and control.low < control.high and each.step > 0
        assert kind.find_channel(bpy.data.objects[control.owner], control.data_path) == channel
        assert kind.key_problem(channel) == "" and np.isfinite(kind.neutral(channel)) and kind.owner_name(channel)
        with restored([each]):
            each.write(control.high)
            assert channel.read() == pytest.approx(control.high)
        assert channel.read() == control.rest
    assert kind.find_channel(bpy.context.scene.camera, found[0].control.data_path) is None
    chosen = kind.chosen([(each.control, 1.0) for each in found])
    assert chosen and chosen <= set(names)
    found[0].channels[0].id.driver_add(found[0].channels[0].path, found[0].channels[0].index)
    assert kind.key_problem(found[0].channels[0]) == "is driven"
    again, excluded = kind.find(FaceRig.around((rig.head,)))
    assert excluded[names[0]] == "is driven" and names[0] not in {each.control.name for each in again}


def test_another_kind_is_measured_and_listed(rig: SimpleNamespace) -> None:
    before = {side: hook.constraints[0].influence for side, hook in rig.hooks.items()}
    assert bpy.ops.magplus.measure_controls() == {"FINISHED"}
    assert {side: hook.constraints[0].influence for side, hook in rig.hooks.items()} == before
    entries = {entry.name: entry for entry in rig.settings.controls}
    left = entries["corner.L Pull"]
    assert left.kind == ConstraintInfluence.name and left.solve and left.left and left.partner == "corner.R Pull"
    assert not left.note and left.pixels == pytest.approx(0.3 / 5.05 * 50 / 36 * 320, rel=0.1)
    fake = SimpleNamespace(filter_name="corner.", only_seen=True, bitflag_filter_item=1 << 30)
    flags, _ = control_list.MAGPLUS_UL_controls.filter_items(fake, bpy.context, rig.settings, "controls")
    assert sum(map(bool, flags)) == 2


@pytest.mark.parametrize("animation", [NEW_ACTION, LAYER])
def test_another_kind_is_keyed_and_its_strength_can_be_set(
    rig: SimpleNamespace, tmp_path: Path, animation: str
) -> None:
    bpy.ops.magplus.measure_controls()
    controls, _ = chosen_controls((rig.head,), choice_of(rig.settings))
    folder = solved(tmp_path, controls, {"corner.L Pull": pulse(20, 8, 0.4)}, apex=8)
    report = bake_controls(bpy.context, folder, Destination(start_frame=1, animation=animation))
    assert report.record.keyed == ("corner.L Pull",) and not report.record.not_keyed
    assert report.record.actions == ("MagPlus corner.L",)
    pull = rig.hooks["L"].constraints["Pull"]
    for strength in (1.0, 0.5, 2.0):
        rig.settings.bakes[-1].strength = strength
        bpy.context.scene.frame_set(9)
        assert pull.influence == pytest.approx(0.4 * strength, abs=1e-5)
        bpy.context.scene.frame_set(18)
        assert pull.influence == pytest.approx(0.0, abs=1e-5)


def test_what_blender_cuts_off_is_reported(rig: SimpleNamespace, tmp_path: Path) -> None:
    controls, _ = KINDS[ConstraintInfluence.name].find(FaceRig.around((rig.head,)))
    folder = solved(tmp_path, controls, {"corner.R Pull": pulse(20, 8, 1.3)}, apex=8)
    report = bake_controls(bpy.context, folder, Destination(start_frame=1))
    assert "'corner.R Pull' goes beyond Blender's limit of 1 and is cut off there" in " ".join(report.sentences())


def test_a_kind_that_is_not_known_here_is_reported(
    rig: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bpy.ops.magplus.measure_controls()
    controls, _ = chosen_controls((rig.head,), choice_of(rig.settings))
    folder = solved(tmp_path, controls, {"corner.L Pull": pulse(20, 8, 0.4), "Smile": pulse(20, 8, 0.2)}, apex=8)
    monkeypatch.delitem(KINDS, ConstraintInfluence.name)
    report = bake_controls(bpy.context, folder, Destination(start_frame=1))
    assert report.record.keyed == ("Smile",)
    assert report.record.not_keyed == {"corner.L Pull": "is a constraint of this test, which this MagPlus can't key"}


@pytest.mark.parametrize("animation", [NEW_ACTION, LAYER])
def test_the_limits_of_a_property_are_widened_and_not_its_curve_cut(tmp_path: Path, animation: str) -> None:
    rig = add_armature({"jaw": (0, 0, 0)})
    rig["mood"] = 0.2
    rig.id_properties_ui("mood").update(min=0.0, max=1.0, soft_min=0.0, soft_max=1.0)
    controls, _ = property_controls(rig, ('["mood"]',))
    folder = solved(tmp_path, controls, {"mood": 0.2 + pulse(20, 8, 1.13)})
    report = bake_controls(bpy.context, folder, Destination(start_frame=1, animation=animation, keep_apex=False))
    frame = 1 + 8 * 24 / 25
    bpy.context.scene.frame_set(int(frame), subframe=frame % 1)
    assert rig["mood"] == pytest.approx(1.33, abs=1e-4)
    assert report.raised == {"mood": (0.0, pytest.approx(1.4))}
    assert any("The range was widened of" in each and "mood" in each for each in report.sentences())
    bpy.context.scene.magplus.bakes[-1].strength = 2.0
    bpy.context.scene.frame_set(int(frame), subframe=frame % 1)
    assert rig["mood"] == pytest.approx(2.46, abs=1e-4)


@pytest.mark.parametrize("cage", ["LATTICE", "CURVE"])
def test_shape_keys_of_what_bends_a_face_are_controls(tmp_path: Path, cage: str) -> None:
    quick_render(320, 240).render.fps = 25
    add_camera()
    head = make_head()
    head.shape_key_clear()
    if cage == "LATTICE":
        data = bpy.data.lattices.new("Cage")
        data.points_u = data.points_v = data.points_w = 3
    else:
        data = bpy.data.curves.new("Cage", "CURVE")
        data.dimensions = "3D"
        data.splines.new("POLY").points.add(2)
        for place, point in enumerate(data.splines[0].points):
            point.co = (place - 1, 0, 0, 1)
    bends = bpy.data.objects.new("Cage", data)
    bends.scale = (3, 3, 3)
    bpy.context.scene.collection.objects.link(bends)
    head.modifiers.new("Cage", cage).object = bends
    bends.shape_key_add(name="Basis")
    key = bends.shape_key_add(name="Smile", from_mix=False)
    key.data[1].co.z += 0.3
    key.value = 0.0

    assert main(["controls", "--avatar", "Head"]) == 0
    (entry,) = bpy.context.scene.magplus.controls
    assert entry.name == "Smile" and entry.solve and entry.pixels > 1
    controls, _ = chosen_controls((head,), choice_of(bpy.context.scene.magplus))
    bake_controls(bpy.context, solved(tmp_path, controls, {"Smile": pulse(20, 8, 0.5)}, apex=8), Destination())
    bpy.context.scene.frame_set(9)
    assert key.value == pytest.approx(0.5, abs=1e-5)
