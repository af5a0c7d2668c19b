# SPDX-License-Identifier: GPL-3.0-or-later
"""The floor plan of docs/architecture.md, held by reading what each module imports; nothing is imported here."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("backend_bridge", "models", "operators", "magplus_addon")
OURS = {"magplus", "demo", "benchmarks", "tests", *FLOORS}
BLENDERS = {"_cycles", "addon_utils", "bl_ext", "blf", "bmesh", "bpy", "bpy_extras", "gpu", "gpu_extras", "mathutils"}
# The rooms of a floor from the ground up: each imports only from those before it.
ROOMS = {
    "backend_bridge": ("files", "backends", "rig", "job", "worker_client", "environment", "worker"),
    "models": (
        "ahead",
        "pages",
        "device",
        "loops",
        "video",
        "warp",
        "magnification",
        "face",
        "backends",
        "rig",
        "pipeline",
        "training",
    ),
    "operators": ("blender", "running", "rig", "animation", "frames", "avatar", "sample"),
}
STANDS_ON = ("face", "magnification", "rig", "video", "backends")  # what the pipeline stands on
# The worker's script makes its folder the package `magplus`; until then there is nothing to be relative to.
WORKER_SCRIPT = "backend_bridge.worker.__main__"


@dataclass(frozen=True)
class Import:
    """What one import names. later: it stands in a function, so it happens when both modules are there."""

    target: str
    relative: bool
    later: bool


def modules() -> dict[str, Path]:
    """Return our modules by their full names, packages by the names of their folders."""
    paths = (path.relative_to(ROOT) for floor in FLOORS for path in sorted((ROOT / floor).rglob("*.py")))
    return {".".join(path.with_suffix("").parts).removesuffix(".__init__"): ROOT / path for path in paths}


MODULES = modules()


def imports_of(name: str) -> Iterator[Import]:
    package = MODULES[name].relative_to(ROOT).parent.parts

    def look(node: ast.AST, later: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(alias.name, False, later) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and not child.level:
                yield Import(child.module or "", False, later)
            elif isinstance(child, ast.ImportFrom):
                above = package[: len(package) - child.level + 1]
                base = ".".join([*above, *([child.module] if child.module else [])])
                for alias in child.names:
                    whole = f"{base}.{alias.name}"
                    yield Import(whole if whole in MODULES else base, True, later)
            else:
                function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
                yield from look(child, later or function)

    return look(ast.parse(MODULES[name].read_text("utf-8")), False)


IMPORTS = {name: list(imports_of(name)) for name in MODULES}


def floor(name: str) -> str:
    return name.partition(".")[0]


def room(name: str) -> str:
    """Return the package or the module that lies on a floor and that `name` is in: `models.face`, `models.warp`."""
    return ".".join(name.split(".")[:2])


def packages_above(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[:count]) for count in range(1, len(parts))}


def offending(importer: Callable[[str], bool], target: Callable[[str], bool]) -> list[str]:
    """Return "importer -> target" for every import that the plan forbids."""
    return sorted(
        f"{name} -> {each.target}"
        for name, found in IMPORTS.items()
        for each in found
        if importer(name) and target(each.target)
    )


def test_every_relative_import_names_a_module_of_ours() -> None:
    assert len(MODULES) > 100
    lost = [f"{name} -> {each.target}" for name, found in IMPORTS.items() for each in found if each.relative]
    assert [line for line in lost if line.partition(" -> ")[2] not in MODULES] == []


def test_the_workers_side_knows_nothing_of_blender() -> None:
    blenders = {"operators", "magplus_addon", *BLENDERS}
    assert offending(lambda name: floor(name) in ("models", "backend_bridge"), lambda to: floor(to) in blenders) == []


def test_only_the_workers_entry_knows_the_models() -> None:
    def outside(name: str) -> bool:
        return floor(name) != "models" and room(name) != "backend_bridge.worker"

    assert offending(outside, lambda to: floor(to) == "models") == []


def test_operators_know_nothing_of_the_add_on() -> None:
    assert offending(lambda name: floor(name) == "operators", lambda to: floor(to) == "magplus_addon") == []


def test_what_the_pipeline_stands_on_knows_nothing_of_it() -> None:
    below = {f"models.{name}" for name in STANDS_ON}
    assert below <= MODULES.keys()
    above = ("models.pipeline", "models.training")
    assert offending(lambda name: room(name) in below, lambda to: room(to) in above) == []
    assert offending(lambda name: room(name) == "models.pipeline", lambda to: room(to) == "models.training") == []


def test_only_the_pipeline_knows_of_jobs() -> None:
    def elsewhere(name: str) -> bool:
        return floor(name) == "models" and room(name) != "models.pipeline"

    assert offending(elsewhere, lambda to: room(to) == "backend_bridge.job") == []


@pytest.mark.parametrize(("story", "name"), [(story, name) for story, names in ROOMS.items() for name in names])
def test_a_room_stands_on_those_before_it(story: str, name: str) -> None:
    names = ROOMS[story]
    own, above = f"{story}.{name}", [f"{story}.{each}" for each in names[names.index(name) + 1 :]]
    assert own in MODULES
    assert offending(lambda importer: room(importer) == own, lambda to: room(to) in above) == []


def test_every_room_has_its_place() -> None:
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py" and name.count(".") == 1}
    placed = {f"{story}.{name}" for story, names in ROOMS.items() for name in names}
    assert {name for name in packages if floor(name) in ROOMS} <= placed


def test_the_rooms_of_the_operators_know_nothing_of_the_verbs() -> None:
    rooms = {f"operators.{name}" for name in ROOMS["operators"]}
    assert (
        offending(lambda name: room(name) in rooms, lambda to: floor(to) == "operators" and room(to) not in rooms) == []
    )


@pytest.mark.parametrize("name", FLOORS)
def test_no_two_rooms_of_a_floor_import_each_other(name: str) -> None:
    graph: dict[str, set[str]] = {}
    for module, found in IMPORTS.items():
        if floor(module) == name:
            targets = {room(each.target) for each in found if floor(each.target) == name and each.target != name}
            graph.setdefault(room(module), set()).update(targets - {room(module)})
    # The floor's own package may gather its rooms, as the add-on's does; its rooms don't ask it back.
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


def test_no_module_imports_itself_in_the_end() -> None:
    """An import inside a function is left out: it happens when both modules are there, and makes no circle."""
    graph: dict[str, set[str]] = {}
    for name, found in IMPORTS.items():
        targets = {each.target for each in found if each.target in MODULES and not each.later}
        # To import a module is to import the packages around it, but for those that we are in ourselves.
        around = {package for target in targets for package in packages_above(target)} - packages_above(name)
        graph[name] = (targets | around) - {name}
    TopologicalSorter(graph).prepare()


def test_blenders_side_needs_nothing_but_blender() -> None:
    """Standard library, numpy and Blender's own modules, for everything that Blender can come to load."""
    loaded = {name for name in MODULES if floor(name) in ("operators", "magplus_addon")}
    waiting = list(loaded)
    while waiting:
        name = waiting.pop()
        new = {each.target for each in IMPORTS[name] if each.target in MODULES} - loaded
        loaded |= new
        waiting += new
    allowed = sys.stdlib_module_names | BLENDERS | {"numpy"}
    foreign = [
        f"{name} -> {each.target}"
        for name in sorted(loaded)
        for each in IMPORTS[name]
        if not each.relative and floor(each.target) not in allowed
    ]
    assert foreign == []
    assert any(floor(name) == "backend_bridge" for name in loaded)
    assert not any(floor(name) == "models" or room(name) == "backend_bridge.worker" for name in loaded)


def test_our_own_packages_are_reached_relatively() -> None:
    """The same tree is an extension called bl_ext.<repository>.magplus, a checkout, and the package magplus."""
    absolute = [
        f"{name} -> {each.target}"
        for name, found in IMPORTS.items()
        for each in found
        if not each.relative and floor(each.target) in OURS and name != WORKER_SCRIPT
    ]
    assert absolute == []
