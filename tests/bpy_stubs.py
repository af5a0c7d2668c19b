# SPDX-License-Identifier: GPL-3.0-or-later
"""The types of bpy for mypy: those of fake-bpy-module, corrected where they promise less than Blender does, or wrongly.

They are made from Blender's own documentation, where whatever is a pointer may be None. Correcting them in one table
keeps assertions out of the code that no Blender needs.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

# Members of bpy.types that are never None while our code runs, by class.
NEVER_NONE = {
    "Camera": ("dof",),
    "Context": ("preferences", "region", "scene", "screen", "view_layer", "window_manager"),
    "Depsgraph": ("view_layer",),
    "DepsgraphObjectInstance": ("object",),
    "FCurve": ("driver",),
    "ID": ("original",),
    "Image": ("colorspace_settings",),
    "ImageStrip": ("colorspace_settings",),
    "Material": ("node_tree",),
    "NodeLink": ("from_node",),
    "NodeSocket": ("links",),
    "Operator": ("layout",),
    "Panel": ("layout",),
    "Scene": ("view_settings",),
    "ShaderNodeTexImage": ("outputs",),
    "ViewLayer": ("depsgraph",),
}
# What is missing, by module and class; "" is the module itself.
MISSING = {
    ("bpy/types", ""): "import magplus.magplus_addon.settings",
    ("bpy/types", "Scene"): "magplus: magplus.magplus_addon.settings.MagPlusSettings",
    # Of the classes that are derived from these, as far as we read it.
    ("bpy/types", "ID"): "animation_data: AnimData | None",
    ("bpy/types", "NodeSocket"): "default_value: typing.Any",
    ("bpy/types", "Property"): "default: typing.Any; default_array: typing.Any; enum_items: typing.Any; "
    "hard_min: float; hard_max: float",
    ("bpy/types", "ActionStrip"): "channelbag: typing.Any; channelbags: typing.Any",
    # Of other series than the stubs'.
    ("bpy/types", "Action"): "fcurves: typing.Any",
    ("bpy/types", "SequenceEditor"): "sequences: typing.Any",
    ("bpy/types", "Strip"): "left_handle: float; right_handle: float",
    ("bpy/path", ""): "extensions_image: frozenset[str]; extensions_movie: frozenset[str]",
    ("bpy/props", ""): "class _PropertyDeferred: ...",
    ("mathutils", "Vector"): "def __iter__(self) -> typing.Iterator[float]: ...",
}
# What is wrong, by module and class, as a regular expression and what it should be.
WRONG = (
    ("bpy/types", "UILayout", r"bpy\.stub_internal\.rna_enums\.IconItems \| None", "str"),
    ("bpy/types", "Image", r"pixels: float", "pixels: bpy_prop_array[float]"),
    (
        "bpy/types",
        "bpy_struct",
        r"(def id_properties_ui\(\s*self,\s*key: str \| None,\s*/,\s*\)) -> None",
        r"\1 -> typing.Any",
    ),
    ("bpy/ops/render", "render", r"\) -> None", ") -> set[str]"),
    ("bpy/utils", "", r"(def register_cli_command\([^\n]*\)) -> None", r"\1 -> object"),
    ("bpy/msgbus", "", r"tuple\[bpy\.types\.Struct, str\]", "tuple[type[bpy.types.bpy_struct], str]"),
    ("mathutils/bvhtree", "BVHTree", r"_bpy_types\.Object", "bpy.types.Object"),
    ("mathutils/bvhtree", "BVHTree", r"(def From[^)]*\)) -> None", r"\1 -> BVHTree"),
)


def corrected_stubs(packages: Path, folder: Path) -> Path:
    """Copy the stubs from the `packages` of an environment to `folder`, corrected, and return that.

    There they have the names of what they describe, so that mypy finds them on MYPYPATH, whichever Python it is run
    for. Raises `ValueError` when there is nothing to correct any more.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for stubs in packages.glob("*-stubs"):
        shutil.copytree(stubs, folder / stubs.name.removesuffix("-stubs"))
    for name, members in NEVER_NONE.items():
        for member in members:
            _correct(folder / "bpy/types", name, rf"(\n    (?:def )?{member}\b[^\n]*?) \| None(?=:|\n)", r"\1")
    for module, name, wrong, right in WRONG:
        _correct(folder / module, name, wrong, right)
    for (module, name), lines in MISSING.items():
        path = folder / module / "__init__.pyi"
        text = path.read_text(encoding="utf-8")
        if name:
            text, count = re.subn(rf"(?m)^class {name}\b.*:$", rf"\g<0>\n    {lines}", text, count=1)
            if not count:
                raise ValueError(f"the stubs of {module} have no class {name}")
        else:
            text = f"{lines}\n{text}"
        path.write_text(text, encoding="utf-8")
    return folder


def _correct(module: Path, name: str, wrong: str, right: str) -> None:
    path = module / "__init__.pyi"
    text = path.read_text(encoding="utf-8")
    start = re.search(rf"(?m)^class {name}\b", text)
    begin, end = (start.start(), text.find("\nclass ", start.end())) if name and start else (0, len(text))
    block, count = re.subn(wrong, right, text[begin : end if end > 0 else len(text)])
    if not count:
        raise ValueError(f"the stubs of {module.name} have nothing to correct in {name}: {wrong}")
    path.write_text(text[:begin] + block + (text[end:] if end > 0 else ""), encoding="utf-8")
