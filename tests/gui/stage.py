# SPDX-License-Identifier: GPL-3.0-or-later
"""Play a scenario in a graphical Blender and take pictures of it. Runs inside Blender; `play.py` starts it.

A scenario is a generator that does one thing at a time and yields the seconds to wait for Blender to draw it.
"""

from __future__ import annotations

import os
import struct
import sys
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bpy
import numpy as np

OUT = Path(os.environ["MAGPLUS_GUI_OUT"])
MODULE = "bl_ext.user_default.magplus"
LARGEST = 100_000  # bytes of a picture
QUALITIES = (85, 75, 65, 55)  # of a JPEG, %: the first that makes a file small enough
Scenario = Generator[float, None, None]


def play(scenario: Callable[[], Scenario]) -> None:
    """Play a scenario, then quit; a fault ends it with exit status 1."""
    steps = scenario()

    def step() -> float | None:
        try:
            return next(steps)
        except StopIteration:
            status = 0
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        os._exit(status)  # asks nothing about unsaved changes

    bpy.app.timers.register(step, first_interval=1.0, persistent=True)


# --- pictures ----------------------------------------------------------------------------------------------------


def screen() -> np.ndarray:
    """Return what the screen shows, uint8 [height, width, 3], first row on top."""
    if frame_buffer := os.environ.get("MAGPLUS_GUI_FRAME_BUFFER"):
        return _of_xvfb(Path(frame_buffer).read_bytes())
    path = OUT / "screenshot.png"
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0]):
        bpy.ops.screen.screenshot(filepath=str(path))
    image = bpy.data.images.load(str(path))
    pixels = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(pixels)
    width, height = image.size
    bpy.data.images.remove(image)
    path.unlink()
    return (pixels.reshape(height, width, 4)[::-1, :, :3] * 255 + 0.5).astype(np.uint8)


def _of_xvfb(data: bytes) -> np.ndarray:
    """Read the X window dump that Xvfb keeps of its screen; a screenshot by OpenGL is black on a software renderer."""
    header = struct.unpack(">25I", data[:100])
    size, width, height, line, colours = header[0], header[4], header[5], header[12], header[19]
    pixels = np.frombuffer(data, np.uint8, line * height, size + colours * 12).reshape(height, line)
    return pixels[:, : width * 4].reshape(height, width, 4)[..., [2, 1, 0]].copy()


def picture(name: str, box: tuple[int, int, int, int] | None = None) -> None:
    """Save what the screen shows, or a box of it (left, top, right, bottom in px)."""
    kind = os.environ.get("MAGPLUS_GUI_KIND", "JPEG")
    shown = screen()
    if box is not None:
        left, top, right, bottom = box
        shown = shown[max(top, 0) : bottom, max(left, 0) : right]
    height, width, _ = shown.shape
    image = bpy.data.images.new("picture", width, height)
    pixels = np.ones((height, width, 4), np.float32)
    pixels[..., :3] = shown[::-1] / 255
    image.pixels.foreach_set(pixels.ravel())
    image.file_format = kind
    path = OUT / f"{name}.{'jpg' if kind == 'JPEG' else 'png'}"
    for quality in QUALITIES:
        image.save(filepath=str(path), quality=quality)
        if path.stat().st_size < LARGEST:
            break
    bpy.data.images.remove(image)
    print("picture", path.name, flush=True)


# --- Blender's window ----------------------------------------------------------------------------------------------


def window() -> bpy.types.Window:
    """Return the first window."""
    return bpy.context.window_manager.windows[0]


def view() -> bpy.types.Area:
    """Return the largest 3D view."""
    areas = [area for area in window().screen.areas if area.type == "VIEW_3D"]
    return max(areas, key=lambda area: area.width * area.height)


def region(area: bpy.types.Area, kind: str) -> bpy.types.Region:
    """Return a region of an area: UI is the sidebar."""
    return next(each for each in area.regions if each.type == kind)


def box_of(part: Any, margin: int = 0) -> tuple[int, int, int, int]:
    """Return where an area or region is on the screen, as `picture` takes it."""
    height = window().height
    return (
        part.x - margin, height - part.y - part.height - margin, part.x + part.width + margin, height - part.y + margin,
    )  # fmt: skip


def drawn(times: int = 6) -> Scenario:
    """Wait until all windows have been drawn so many times, however long this machine takes for one."""
    for _ in range(times):
        for each in bpy.context.window_manager.windows:
            for area in each.screen.areas:
                area.tag_redraw()
        yield 0.5


def another_window() -> Scenario:
    """Wait until a second window is open and drawn."""
    yield from until(lambda: len(bpy.context.window_manager.windows) > 1, 60.0)
    yield from drawn()


def show_sidebar() -> Scenario:
    """Open the sidebar on the MagPlus tab."""
    area = view()
    area.spaces.active.show_region_ui = True
    yield from drawn(3)  # then the tabs are known
    region(area, "UI").active_panel_category = "MagPlus"
    area.tag_redraw()
    yield 0.8


def widen_sidebar(width: int) -> Scenario:
    """Drag the sidebar's edge until it is `width` px wide."""
    area = view()
    side = region(area, "UI")
    y = side.y + side.height // 2
    yield from drag((side.x - 1, y), (side.x + side.width - width, y))


def drag(start: tuple[int, int], end: tuple[int, int]) -> Scenario:
    """Drag the mouse with the left button."""
    for kind, value, (x, y) in (
        ("MOUSEMOVE", "NOTHING", start), ("LEFTMOUSE", "PRESS", start),
        *(("MOUSEMOVE", "NOTHING", _between(start, end, share / 8)) for share in range(1, 9)),
        ("LEFTMOUSE", "RELEASE", end),
    ):  # fmt: skip
        window().event_simulate(kind, value, x=x, y=y)
        yield 0.1
    yield 0.5


def _between(start: tuple[int, int], end: tuple[int, int], share: float) -> tuple[int, int]:
    return tuple(round(a + (b - a) * share) for a, b in zip(start, end, strict=True))  # type: ignore[return-value]


def press(x: int, y: int, button: str = "LEFTMOUSE") -> Scenario:
    """Click."""
    window().event_simulate("MOUSEMOVE", "NOTHING", x=x, y=y)
    yield 0.3
    for value in ("PRESS", "RELEASE"):
        window().event_simulate(button, value, x=x, y=y)
        yield 0.2
    yield 0.4


def key(name: str) -> Scenario:
    """Press and release a key."""
    for value in ("PRESS", "RELEASE"):
        window().event_simulate(name, value, x=window().width // 2, y=window().height // 2)
        yield 0.2


def scroll(area: bpy.types.Area, part: bpy.types.Region, steps: int) -> Scenario:
    """Turn the wheel over a region, down for a positive number of steps."""
    x, y = part.x + part.width // 2, part.y + part.height // 2
    window().event_simulate("MOUSEMOVE", "NOTHING", x=x, y=y)
    yield 0.2
    for _ in range(abs(steps)):
        window().event_simulate("WHEELDOWNMOUSE" if steps > 0 else "WHEELUPMOUSE", "PRESS", x=x, y=y)
        yield 0.03
    area.tag_redraw()
    yield 0.7


def close_other_windows() -> Scenario:
    """Close all windows but the first."""
    while len(bpy.context.window_manager.windows) > 1:
        with bpy.context.temp_override(window=bpy.context.window_manager.windows[-1]):
            bpy.ops.wm.window_close()
        yield from drawn(3)


def call(operator: Any, **options: Any) -> set[str]:
    """Call an operator as its button in the 3D view does."""
    area = view()
    with bpy.context.temp_override(window=window(), area=area, region=region(area, "WINDOW")):
        return operator("INVOKE_DEFAULT", **options)


def until(done: Callable[[], bool], limit: float, every: float = 0.5) -> Scenario:
    """Wait until something is so. Raises `TimeoutError` after `limit` seconds."""
    waited = 0.0
    while not done():
        if waited > limit:
            raise TimeoutError(f"not so after {limit:.0f} s")
        yield every
        waited += every


@contextmanager
def only_panels(*names: str) -> Iterator[None]:
    """Draw of the sidebar's panels under the main one only these meanwhile, open.

    Blender remembers which panels are closed by their names, so that these have other ones.
    """
    there = [getattr(bpy.types, name) for name in dir(bpy.types) if name.startswith("MAGPLUS_PT_")]
    own = [each for each in there if getattr(each, "bl_parent_id", "")]
    own.sort(key=lambda each: each.bl_parent_id != "MAGPLUS_PT_main")  # those that others are in come first
    opened = [_opened(each, names) for each in own if each.__name__ in names]
    for each in reversed(own):
        bpy.utils.unregister_class(each)
    for each in opened:
        bpy.utils.register_class(each)
    try:
        yield
    finally:
        for each in reversed(opened):
            bpy.utils.unregister_class(each)
        for each in own:
            bpy.utils.register_class(each)


def _opened(panel: type, others: tuple[str, ...]) -> type:
    """Return a copy of a panel that was never closed."""
    parent = panel.bl_parent_id
    body = {name: value for name, value in vars(panel).items() if name not in ("bl_rna", "__dict__", "__weakref__")}
    body |= {"bl_options": set(), "bl_parent_id": f"{parent}_opened" if parent in others else parent}
    return type(f"{panel.__name__}_opened", panel.__bases__, body)
