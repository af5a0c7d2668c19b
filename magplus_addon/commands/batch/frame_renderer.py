# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Blender of its own: render some frames of a file with the file's own settings, one after another.

python frame_renderer.py -- FILE SCENE FOLDER NAME APEX FRAME ...
(or `blender -b FILE --python frame_renderer.py -- ...`)

It knows nothing of MagPlus, so that it runs wherever Blender does. All files of a frame go into FOLDER/FRAME, that at
the apex (- for none) with a PNG of it for the contact sheet where the file renders another format; the frame is printed
on standard output, as a JSON line, once they are written.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import bpy


def main(arguments: list[str]) -> None:
    """Render; a line {"frame": N} after each frame, {"problem": TEXT} instead of all when it can't be done."""
    file, scene_name, folder, name, apex, *frames = arguments
    if Path(bpy.data.filepath) != Path(file):
        bpy.ops.wm.open_mainfile(filepath=file)
    scene = bpy.data.scenes.get(scene_name)
    if scene is None:
        print_line({"problem": f"The file has no scene {scene_name!r}."})
        return
    if scene.render.is_movie_format:
        print_line({"problem": f"Scene {scene_name!r} renders a movie; choose an image format, which can be resumed."})
        return
    for number in map(int, frames):
        scene.frame_set(number)
        scene.render.filepath = str(Path(folder) / str(number) / f"{name}_{number:04d}")
        scene.render.use_file_extension = True
        scene.render.use_overwrite = True
        bpy.ops.render.render(scene=scene_name, write_still=True)
        if str(number) == apex and scene.render.image_settings.file_format not in {"PNG", "JPEG", "WEBP", "BMP"}:
            save_preview(scene, Path(folder) / apex / "preview" / f"{name}_{number:04d}.png")
        print_line({"frame": number})


def save_preview(scene: bpy.types.Scene, path: Path) -> None:
    """Save the picture that was rendered last as a person would see it. Without one the render is as good."""
    settings = scene.render.image_settings
    names = [name for name in ("media_type", "file_format", "color_mode", "color_depth") if hasattr(settings, name)]
    before = {name: getattr(settings, name) for name in names}
    try:
        if "media_type" in before:  # from Blender 5 on
            settings.media_type = "IMAGE"
        settings.file_format, settings.color_mode, settings.color_depth = "PNG", "RGB", "8"
        bpy.data.images["Render Result"].save_render(str(path), scene=scene)
    except (RuntimeError, KeyError) as error:
        print(f"No preview: {error}", flush=True)
    finally:
        for name, value in before.items():
            setattr(settings, name, value)


def print_line(line: dict[str, object]) -> None:
    """Write a line that the caller reads."""
    print("magplus " + json.dumps(line), flush=True)


if __name__ == "__main__":
    main(sys.argv[sys.argv.index("--") + 1 :])
