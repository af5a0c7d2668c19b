# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person sees: settings, reasons, panels, preferences; and that switching off leaves nothing behind."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from inspect import isfunction
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import addon_utils
import bpy
import numpy as np
import pytest

from tests.blender.head import add_camera, make_head


@pytest.fixture
def module(extension: str) -> Callable[[str], ModuleType]:
    return lambda name: importlib.import_module(f"{extension}.{name}")


@pytest.fixture
def settings() -> Any:
    return bpy.context.scene.magplus


@pytest.fixture
def preferences(extension: str) -> Any:
    chosen = bpy.context.preferences.addons[extension].preferences
    yield chosen
    chosen.environment_source, chosen.python, chosen.environment_folder = "OWN", "", ""


@pytest.fixture
def ready(settings: Any, preferences: Any, tmp_path: Path) -> Any:
    """Settings with which a run could start."""
    preferences.environment_source, preferences.python = "EXISTING", sys.executable
    add_camera()
    settings.avatar = make_head()
    video = tmp_path / "clip.mp4"
    video.write_bytes(b"never read here")
    settings.driving, settings.job_folder = str(video), str(tmp_path)
    return settings


def traces(extension: str) -> list[str]:
    """Everything by which Blender could still know us."""
    known = [name for name in dir(bpy.types) if name.upper().startswith("MAGPLUS")]
    known += [f"bpy.ops.magplus.{name}" for name in dir(bpy.ops.magplus)]
    known += [f"Scene.{name}" for name in dir(bpy.types.Scene) if "magplus" in name.lower()]
    for name in dir(bpy.app.handlers):
        handlers = getattr(bpy.app.handlers, name)
        if isinstance(handlers, list):
            known += [f"handlers.{name}" for handler in handlers if extension in getattr(handler, "__module__", "")]
    return known


def test_switching_off_leaves_no_trace_and_on_again_works(extension: str) -> None:
    assert traces(extension)
    pump = importlib.import_module(f"{extension}.operators.running.job_manager").pump
    addon_utils.disable(extension, default_set=True)
    try:
        assert traces(extension) == []
        assert not bpy.app.timers.is_registered(pump)
    finally:
        assert addon_utils.enable(extension, default_set=True) is not None
    assert bpy.context.scene.magplus.start_frame == 1


def test_blender_stays_free_of_the_workers_packages(extension: str) -> None:
    assert not {"torch", "cv2", "mediapipe", "scipy", "av"} & set(sys.modules)
    assert f"{extension}.models" not in sys.modules and "models" not in sys.modules


def test_the_scene_holds_settings_and_nothing_that_is_running(settings: Any) -> None:
    names = set(settings.bl_rna.properties.keys())
    assert not {name for name in names if any(word in name for word in ("progress", "running", "status", "state"))}


def picture(settings: Any, suffix: str) -> str:
    """A picture of a format, beside the driving video."""
    return str(Path(settings.driving).rename(Path(settings.driving).with_suffix(suffix)))


def test_only_pictures_that_the_worker_reads_make_a_sequence(module: Callable[[str], ModuleType]) -> None:
    is_image_sequence = module("operators.order").is_image_sequence
    assert is_image_sequence("a0001.PNG") and is_image_sequence("a.webp") and is_image_sequence("a_0001.exr")
    assert not is_image_sequence("a0001.dpx") and not is_image_sequence("a.mp4") and not is_image_sequence("")


def test_every_picture_to_blender_is_one_that_is_read_or_is_reported_as_not_read(
    module: Callable[[str], ModuleType],
) -> None:
    formats = module("backend_bridge.files.image_formats")
    assert bpy.path.extensions_image <= formats.SEQUENCE_SUFFIXES | formats.OTHER_PICTURES
    assert not formats.SEQUENCE_SUFFIXES & formats.OTHER_PICTURES


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s, p: setattr(s, "avatar", None), "Choose the avatar"),
        (lambda s, p: setattr(s, "driving", ""), "Choose the driving video"),
        (lambda s, p: setattr(s, "driving", "/nowhere/clip.mp4"), "no driving video at"),
        (lambda s, p: setattr(s, "driving", str(Path(s.driving).parent)), "holds no numbered images"),
        (lambda s, p: setattr(s, "driving", str(Path(picture(s, ".png")).parent)), "frame rate of the image sequence"),
        (lambda s, p: setattr(s, "driving", picture(s, ".HDR")), "can't read .hdr pictures; save"),
        (lambda s, p: setattr(s, "driving", str(Path(picture(s, ".dpx")).parent)), "can't read .dpx pictures; save"),
        (lambda s, p: (setattr(s, "use_trim", True), setattr(s, "trim_end", 0.0)), "holds nothing; its end has to"),
        (lambda s, p: setattr(s, "vertex_group", "Face"), "no vertex group 'Face'"),
        (lambda s, p: (setattr(s, "frames", False), setattr(s, "shape_keys", False)), "Choose what to make"),
        (lambda s, p: s.avatar.shape_key_clear(), "has no shape keys"),
        (lambda s, p: setattr(s, "job_folder", "//"), "Save the file first"),
        (lambda s, p: setattr(bpy.context.scene, "camera", None), "no camera"),
        (lambda s, p: setattr(s.avatar, "hide_render", True), "is hidden"),
        (lambda s, p: setattr(p, "python", "/nowhere/python"), "There is no Python at /nowhere/python"),
        (lambda s, p: setattr(p, "python", ""), "Choose the worker's Python"),
        (lambda s, p: setattr(p, "environment_source", "OWN"), "not set up yet"),
    ],
)
def test_a_disabled_button_says_why(
    ready: Any, preferences: Any, module: Callable[[str], ModuleType], change: Callable[[Any, Any], Any], reason: str
) -> None:
    order = module("operators.order")
    assert order.disabled_reason(bpy.context) == ""
    assert bpy.ops.magplus.animate.poll()
    change(ready, preferences)
    assert reason in order.disabled_reason(bpy.context)
    assert order.disabled_reason(bpy.context).endswith((".", ";")) and not bpy.ops.magplus.animate.poll()


def test_choosing_an_avatar_asks_for_what_it_can_do(settings: Any) -> None:
    settings.avatar = make_head()
    assert settings.shape_keys
    bpy.ops.mesh.primitive_cube_add()
    settings.avatar = bpy.context.object
    assert not settings.shape_keys


def test_only_meshes_can_be_avatars(module: Callable[[str], ModuleType], settings: Any) -> None:
    poll = module("magplus_addon.settings")._is_mesh
    assert poll(settings, make_head()) and not poll(settings, add_camera())


@pytest.mark.parametrize("typed", [0.533, 0.04, 29.97, 12.345, 8.1])
def test_typed_numbers_come_out_as_typed(settings: Any, module: Callable[[str], ModuleType], typed: float) -> None:
    settings.reference = typed
    assert settings.reference != typed or np.float32(typed) == typed
    assert module("operators.order").decimal(settings.reference) == typed


@pytest.mark.parametrize(
    ("typed", "exact"),
    [
        (23.976, "24000/1001"),
        (23.98, "24000/1001"),
        (29.97, "30000/1001"),
        (59.94, "60000/1001"),
        (24.0, "24"),
        (25.0, "25"),
        (200.0, "200"),
        (12.5, "25/2"),
        (5.0, "5"),
    ],
)
def test_frame_rates_are_exact(settings: Any, module: Callable[[str], ModuleType], typed: float, exact: str) -> None:
    settings.sequence_rate = typed
    assert module("operators.order").frame_rate(settings.sequence_rate) == exact


def test_the_order_says_what_the_settings_say(ready: Any, module: Callable[[str], ModuleType], tmp_path: Path) -> None:
    ready.use_trim, ready.trim_start, ready.trim_end = True, 0.2, 0.7
    ready.reference_mode, ready.reference = "GIVEN", 0.533
    ready.alpha_mode, ready.alpha = "GIVEN", 6.5
    ready.face_mode, ready.face_index = "INDEX", 1
    ready.regions.brows = 0.25
    order = module("operators.order").make_order(bpy.context)
    spec = order.spec
    assert (spec.driving.trim, spec.driving.reference, spec.driving.face_index) == ((0.2, 0.7), 0.533, 1)
    assert spec.magnification.alpha == 6.5
    assert spec.magnification.regions["brows"] == 0.25
    assert set(spec.magnification.regions) == set(module("backend_bridge.job.spec").REGIONS)
    assert (spec.outputs.frames, spec.outputs.weights) == (True, True)
    assert order.folder == tmp_path / "Head-clip-001.magplus"


def test_a_new_run_never_writes_over_a_finished_one(
    ready: Any, module: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    order, bridge = module("operators.order"), module("backend_bridge.job.folder")
    first = bridge.JobFolder.create(order.make_order(bpy.context).folder)
    job = module("backend_bridge.job.spec")
    first.write_spec(job.JobSpec(job.Driving("clip.mp4"), job.Avatar("avatar.png")))
    assert order.make_order(bpy.context).folder == first.path, "an unfinished run is taken up again"
    first.write_report(module("backend_bridge.job.report").Report("finished"))
    assert order.make_order(bpy.context).folder == tmp_path / "Head-clip-002.magplus"
    first.report_path.write_text('{"schema": 99, "of a later": "MagPlus"}')
    assert order.make_order(bpy.context).folder == tmp_path / "Head-clip-002.magplus"


def test_a_dropped_video_becomes_the_driving_video(settings: Any, tmp_path: Path) -> None:
    handler = bpy.types.FileHandler.bl_rna_get_subclass_py("MAGPLUS_FH_driving")
    extensions = handler.bl_file_extensions.split(";")
    assert ".mp4" in extensions and ".mov" in extensions
    view = SimpleNamespace(area=SimpleNamespace(type="VIEW_3D"))
    assert handler.poll_drop(view) and not handler.poll_drop(SimpleNamespace(area=None))
    assert bpy.ops.magplus.choose_driving(filepath=str(tmp_path / "clip.mp4")) == {"FINISHED"}
    assert settings.driving == str(tmp_path / "clip.mp4")


# What Blender's own dictionaries have with another meaning: its "Face" is a polygon.
OTHERWISE_IN_BLENDER = {"At", "Driver", "Face", "Frame", "Mark", "Match", "Release", "Single", "Solve", "To", "Use"}


class Layout:
    """Stands in for Blender's layout, which draws only with a window: holds what is drawn to what exists."""

    def __init__(self, drawn: list[str] | None = None) -> None:
        self.drawn: list[str] = [] if drawn is None else drawn

    def _nested(self, **_options: Any) -> Layout:
        return Layout(self.drawn)

    row = column = box = split = _nested

    def panel(self, name: str, default_closed: bool = False) -> tuple[Layout, Layout]:
        return self._nested(), self._nested()

    def template_icon(self, icon_value: int, scale: float = 1.0) -> None:
        self.drawn.append("picture")

    def menu(self, name: str) -> None:
        assert hasattr(bpy.types, name)
        self.drawn.append(name)

    def separator(self) -> None:
        self.drawn.append("")

    def prop(self, data: Any, name: str, **options: Any) -> None:
        self._ours(options.get("text", ""), options.get("text_ctxt", ""))
        assert name in data.bl_rna.properties, name
        self.drawn.append(name)

    def prop_search(self, data: Any, name: str, search: Any, where: str, **options: Any) -> None:
        self._ours(options.get("text", ""), options.get("text_ctxt", ""))
        self.prop(data, name)
        assert where in search.bl_rna.properties

    def label(self, text: str = "", icon: str = "NONE", translate: bool = True, text_ctxt: str = "") -> None:
        if translate:
            self._ours(text, text_ctxt)
        self._check(icon)
        self.drawn.append(text)

    def operator_menu_enum(self, name: str, prop: str, text: str = "", text_ctxt: str = "") -> None:
        self._ours(text, text_ctxt)
        group, verb = name.split(".")
        assert prop in getattr(getattr(bpy.ops, group), verb).get_rna_type().properties
        self.drawn.append(text)

    def template_list(
        self, kind: str, _id: str, data: Any, items: str, active_data: Any, active: str, rows: int = 5
    ) -> None:
        assert hasattr(bpy.types, kind)
        self.prop(data, items)
        self.prop(active_data, active)

    def progress(self, factor: float, text: str) -> None:
        assert 0 <= factor <= 1
        self.drawn.append(text)

    def operator(self, name: str, text: str = "", icon: str = "NONE", emboss: bool = True, text_ctxt: str = "") -> Any:
        self._ours(text, text_ctxt)
        self._check(icon)
        group, verb = name.split(".")
        assert getattr(getattr(bpy.ops, group), verb).get_rna_type()
        self.drawn += [text, name] if text else [name]
        return SimpleNamespace()

    @staticmethod
    def _ours(text: str, context: str) -> None:
        assert text not in OTHERWISE_IN_BLENDER or context == "MagPlus", f"Blender translates {text!r} for itself"

    @staticmethod
    def _check(icon: str) -> None:
        assert icon in bpy.types.UILayout.bl_rna.functions["label"].parameters["icon"].enum_items


class Measuring(Layout):
    """A layout that notes the buttons of each line, as (text, icon); those below each other are lines of their own."""

    def __init__(self, drawn: list[str] | None = None, lines: list[list[tuple[str, str]]] | None = None) -> None:
        super().__init__(drawn)
        self.lines: list[list[tuple[str, str]]] = [] if lines is None else lines
        self._line: list[tuple[str, str]] | None = None  # of a row

    def _nested(self, **_options: Any) -> Measuring:
        return Measuring(self.drawn, self.lines)

    column = box = split = _nested

    def row(self, **_options: Any) -> Measuring:
        row = self._nested()
        row._line = []
        self.lines.append(row._line)
        return row

    def operator(self, name: str, text: str | None = None, icon: str = "NONE", **options: Any) -> Any:
        group, verb = name.split(".")
        label = getattr(getattr(bpy.ops, group), verb).get_rna_type().name if text is None else text
        if self._line is None:
            self.lines.append([(label, icon)])
        else:
            self._line.append((label, icon))
        return super().operator(name, label, icon, **options)


def draw(cls: type, owner: Any = None, layout: Layout | None = None, width: int = 2000) -> list[str]:
    """Draw a panel or the preferences, `width` px wide; returns the texts and the names of the properties."""
    layout = Layout() if layout is None else layout
    context = SimpleNamespace(
        scene=bpy.context.scene,
        view_layer=bpy.context.view_layer,
        preferences=SimpleNamespace(addons=bpy.context.preferences.addons, system=SimpleNamespace(ui_scale=1.0)),
        region=SimpleNamespace(width=width, type="UI"),
    )
    drawn = SimpleNamespace(layout=layout)
    if owner is not None:  # its properties, and the methods that `draw` calls
        names = [each.identifier for each in owner.bl_rna.properties]
        vars(drawn).update({name: getattr(owner, name) for name in names}, bl_rna=owner.bl_rna)
        vars(drawn).update({name: each.__get__(drawn) for name, each in vars(cls).items() if isfunction(each)})
    cls.draw(drawn, context)
    return layout.drawn


def test_every_panel_draws_in_every_state(
    ready: Any, preferences: Any, module: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    panels, jobs = module("magplus_addon.panels"), module("operators.running.job_manager")
    main = panels.MAGPLUS_PT_main
    ready.reference_mode = ready.alpha_mode = "GIVEN"
    ready.face_mode = "INDEX"
    ready.backend = "fomm"
    ready.bakes.add().name = "Head-clip-001"
    for panel in (
        *panels.CLASSES,
        module("magplus_addon.driver_panel").MAGPLUS_PT_driver,
        module("magplus_addon.control_list").MAGPLUS_PT_controls,
        module("magplus_addon.face_match").MAGPLUS_PT_match,
    ):
        assert draw(panel)
    assert "magplus.animate" in draw(main)

    preferences.environment_source = "OWN"
    assert any("not set up" in text for text in draw(main)) and "magplus.show_preferences" in draw(main)

    progress = jobs.Progress("Animating", 12, 60)

    def running(context: Any) -> Any:
        context.warn("The face is missing at 0.12 s.")
        yield progress

    jobs.manager.start("animate", running)
    jobs.pump()
    drawn = draw(main)
    assert "Animating 12/60" in drawn and "magplus.cancel" in drawn and "magplus.animate" not in drawn
    assert any("face is missing" in text for text in drawn)
    jobs.manager.cancel()
    assert any("Cancelling" in text for text in draw(main))
    jobs.manager.close()

    (tmp_path / "worker.log").touch()
    for status in jobs.Status:
        jobs.manager.outcomes["animate"] = jobs.Outcome(
            "What happened.", status, ("Apex at 0.3 s",), ("One warning",), tmp_path, tmp_path / "worker.log"
        )
        drawn = draw(main)
        assert {"What happened.", "Apex at 0.3 s", "One warning", "Job Folder", "Log"} <= set(drawn)
    jobs.manager.outcomes.clear()


def test_sentences_are_broken_into_lines(module: Callable[[str], ModuleType]) -> None:
    layout = Layout()
    module("magplus_addon.text").draw_text(layout, "one two three four five six", 60, "INFO")
    assert layout.drawn == ["one two", "three four", "five six"]


@pytest.mark.parametrize("source", ["OWN", "EXISTING"])
def test_the_preferences_draw(preferences: Any, module: Callable[[str], ModuleType], source: str) -> None:
    preferences.environment_source = source
    drawn = draw(module("magplus_addon.preferences").MagPlusPreferences, preferences)
    assert ("magplus.create_environment" in drawn) == (source == "OWN")
    assert ("environment_folder" in drawn, "python" in drawn) == (source == "OWN", source == "EXISTING")
    assert "magplus.check_environment" in drawn


def test_nothing_is_downloaded_without_online_access(module: Callable[[str], ModuleType]) -> None:
    assert not bpy.app.online_access
    assert not bpy.ops.magplus.create_environment.poll()
    assert "Online access is off" in module("operators.environment").offline_reason()


def test_the_environment_lies_with_the_extensions_data(
    extension: str, preferences: Any, module: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    own = module("operators.environment").own_environment
    assert own(bpy.context).folder == Path(bpy.utils.extension_path_user(extension, path="environment"))
    preferences.environment_folder = str(tmp_path)
    assert own(bpy.context).folder == tmp_path


def test_a_backend_without_its_checkpoint_says_what_is_missing(
    ready: Any, module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    listed, order = module("backend_bridge.backends.info"), module("operators.order")
    monkeypatch.setattr(listed, "checkpoint_folder", lambda: tmp_path)
    ready.backend = "fomm"
    assert "FOMM needs its authors' checkpoint" in order.disabled_reason(bpy.context)
    (tmp_path / "fomm").mkdir()
    for part in ("generator", "kp_detector"):
        (tmp_path / "fomm" / f"{part}.safetensors").touch()
    assert order.disabled_reason(bpy.context) == ""
    assert order.make_order(bpy.context, backend_options={"relative": False}).spec.backend_options == {
        "relative": False
    }


def test_options_of_the_backend_are_set_in_the_sidebar(
    ready: Any, preferences: Any, module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    order = module("operators.order")
    monkeypatch.setattr(order, "backend_problem", lambda name: "")
    panel = module("magplus_addon.panels").MAGPLUS_PT_backend
    assert not panel.poll(bpy.context)  # flow transfer leaves nothing to set
    ready.backend = "fsrt"
    assert panel.poll(bpy.context) and "fsrt_draft" in draw(panel)
    assert order.make_order(bpy.context).spec.backend_options == {}
    ready.backend_options.fsrt_draft = "4"
    ready.backend_options.fsrt_relative = False
    assert order.make_order(bpy.context).spec.backend_options == {"draft": 4, "relative": False}
    made = order.make_order(bpy.context, backend_options={"draft": 2}, allow_cpu=True)
    assert made.spec.backend_options == {"draft": 2, "relative": False} and made.spec.allow_cpu
    ready.backend = "metaportrait"
    ready.backend_options.metaportrait_landmarks = "//me.npy"
    (path,) = order.make_order(bpy.context).spec.backend_options.values()
    assert path == bpy.path.abspath("//me.npy")
    assert not preferences.allow_cpu and not order.make_order(bpy.context).spec.allow_cpu


def test_weights_that_may_not_earn_money_are_marked_where_they_are_chosen(
    ready: Any, preferences: Any, module: Callable[[str], ModuleType]
) -> None:
    expression = module("magplus_addon.panels").MAGPLUS_PT_magnification
    assert not any("commercial" in text for text in draw(expression))
    for entry in module("backend_bridge.backends").BACKENDS:
        ready.backend = entry.name
        assert any("Not for commercial use" in text for text in draw(expression)) != entry.commercial_use
        assert f"Weights: {entry.weights_licence}" in draw(
            module("magplus_addon.preferences").MagPlusPreferences, preferences
        )


def test_every_verb_is_in_the_menu_and_is_found_by_the_name(module: Callable[[str], ModuleType]) -> None:
    menu = module("magplus_addon.menu")
    assert menu.MAGPLUS_MT_verbs.bl_label == "MagPlus"
    drawn = draw(menu.MAGPLUS_MT_verbs)
    named = {verb.bl_idname for group in menu.VERBS for verb in group}
    assert named <= set(drawn) and {"magplus.animate", "magplus.compare", "magplus.import_live_link"} <= named
    assert "VIEW3D_MT_object_animation" in {place.__name__ for place in menu._places()}
    assert menu.keymap.items and not any(item.active for _, item in menu.keymap.items), "off until somebody wants them"


def test_each_backends_published_files_are_one_press_away(module: Callable[[str], ModuleType]) -> None:
    for entry in module("backend_bridge.backends").BACKENDS:
        assert bool(entry.pages) == bool(entry.checkpoints), entry.name
        assert all(page.startswith("https://") and " " not in page and not page.endswith(".") for page in entry.pages)


def test_live_links_browser_shows_recordings() -> None:
    properties = bpy.ops.magplus.import_live_link.get_rna_type().properties
    assert properties["filter_glob"].default == "*.csv" and properties["filter_glob"].is_skip_save


WIDTHS = (140, 180, 220, 300)  # px of a sidebar: as narrow as can be read, narrow, Blender's own, wide


@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_of_a_sentence_is_wider_than_the_sidebar(module: Callable[[str], ModuleType], width: int) -> None:
    text = module("magplus_addon.text")
    context = SimpleNamespace(
        region=SimpleNamespace(width=2 * width, type="UI"),
        preferences=SimpleNamespace(system=SimpleNamespace(ui_scale=2.0)),
    )
    room = text.line_width(context)
    assert text.TABS_WIDTH + text.ICON_WIDTH + room <= width
    for sentence in (
        "The apex is at frame 37, outside the scene's frame range.",
        "/a/path/without/any/space/" + "x" * 80 + "/clip.mp4",
        "表情の頂点はフレーム三十七にあり、シーンの範囲の外です。" * 2,
    ):
        lines = text.wrapped(sentence, room)
        assert all(text.text_width(line) <= room for line in lines)
        assert "".join(lines).replace(" ", "") == sentence.replace(" ", ""), "nothing is lost"
    german = text.wrapped("Die Gesichtsausdrucksverstärkungsumgebung fehlt.", 60.0)
    assert german[0] == "Die" and all(line.endswith("-") for line in german[1:-2]) and len(german) > 4
    assert "".join(german).replace("-", "").replace(" ", "") == "DieGesichtsausdrucksverstärkungsumgebungfehlt."


@pytest.mark.parametrize("width", WIDTHS)
def test_names_of_settings_stand_above_their_values_where_there_is_no_room_beside_them(
    module: Callable[[str], ModuleType], width: int
) -> None:
    text, settings = module("magplus_addon.text"), bpy.context.scene.magplus
    system = SimpleNamespace(ui_scale=1.5)
    context = SimpleNamespace(
        region=SimpleNamespace(width=1.5 * width, type="UI"), preferences=SimpleNamespace(system=system)
    )
    for prop in settings.bl_rna.properties:
        name, title, layout = prop.identifier, prop.name, Layout()
        text.draw_field(context, layout, settings, name)
        fits = text.text_width(title) <= text.LABEL_SHARE * (width - text.TABS_WIDTH) - text.LABEL_MARGIN
        assert layout.drawn == ([name] if fits else [title, name])


def in_language(locale: str, module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """Let panels measure and wrap their texts in a language, which bpy has none of; return its messages."""
    translations = module("magplus_addon.translations")
    language = next((each for each in translations.LANGUAGES if translations.locale_of(each) == locale), None)
    messages: Mapping[str, str] = {} if language is None else language.MESSAGES
    monkeypatch.setattr(module("magplus_addon.text"), "translated", lambda name: messages.get(name, name))
    return messages


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("locale", ["en_US", "de_DE", "fr_FR", "es", "ja_JP", "zh_HANS"])
def test_no_name_of_a_button_is_cut_off(
    module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, width: int, locale: str
) -> None:
    text, messages = module("magplus_addon.text"), in_language(locale, module, monkeypatch)
    room = width - text.TABS_WIDTH - text.ICON_WIDTH
    for name in ("Compare", "Show Frames", "Show Frames As", "Put Preview Range Back", "Extend the Scene's Range"):
        layout, shown = Layout(), messages.get(name, name)
        place, on_it, icon = text.button_place(layout, name, room, "TIME")
        assert on_it in ("", name) and (icon == "TIME" or on_it), "there is always something on it"
        if on_it:
            assert not layout.drawn and text.text_width(shown) <= room + (text.ICON if icon == "NONE" else 0.0)
        else:
            assert place is not layout and all(text.text_width(line) <= room + text.ICON for line in layout.drawn)
            assert "".join(layout.drawn).replace("-", "").replace(" ", "") == shown.replace(" ", "").replace("-", "")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("locale", ["en_US", "de_DE"])
def test_every_button_of_the_sidebar_has_room_for_its_name(
    ready: Any,
    preferences: Any,
    module: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    width: int,
    locale: str,
) -> None:
    in_language(locale, module, monkeypatch)
    text, jobs = module("magplus_addon.text"), module("operators.running.job_manager")
    (tmp_path / "worker.log").touch()
    jobs.manager.outcomes |= {
        kind: jobs.Outcome("What happened.", jobs.Status.FAILED, folder=tmp_path, log=tmp_path / "worker.log")
        for kind in ("animate", "compare", "controls")
    }
    result = ready.result
    result.sentence, result.view_kept, result.has_apex, result.apex_frame = "Imported.", True, True, 5000
    ready.controls.add().name = "Smile"
    ready.moving = ready.st_map = True
    ready.driving = ""
    lines = []
    for name, panels in (
        ("panels", ("main", "magnification", "output")), ("driver_panel", ("driver",)),
        ("control_list", ("controls",)), ("face_match", ("match",)), ("result_panel", ("result", "details")),
    ):  # fmt: skip
        for panel in panels:
            layout = Measuring()
            draw(getattr(module(f"magplus_addon.{name}"), f"MAGPLUS_PT_{panel}"), layout=layout, width=width)
            lines += layout.lines
    jobs.manager.outcomes.clear()
    assert len(lines) > 10
    whole = max(width - text.TABS_WIDTH, text.LEAST_WIDTH + text.ICON_WIDTH)
    for line in lines:  # in which Blender gives all names the same width, and an icon alone a tenth of it
        share = whole * 10 / max(sum(10 if name else 1 for name, _ in line), 10)
        for name, icon in line:
            margin = text.ICON_WIDTH - (text.ICON if icon == "NONE" else 0.0)
            assert not name or text.text_width(text.translated(name)) + margin <= share, line


def test_only_a_result_that_need_not_be_checked_is_ticked_off(module: Callable[[str], ModuleType]) -> None:
    panels, jobs = module("magplus_addon.panels"), module("operators.running.job_manager")
    icons = {verdict: panels.outcome_icon(jobs.Outcome("Done.", verdict=verdict)) for verdict in ("", "good", "check")}
    assert icons == {"": "CHECKMARK", "good": "CHECKMARK", "check": "INFO"}
    failed = jobs.Outcome("Done.", verdict="failed")
    assert panels.outcome_icon(failed) == "ERROR" and panels.is_alarming(failed)
    assert panels.outcome_icon(jobs.Outcome("Cancelled.", jobs.Status.CANCELLED)) == "CANCEL"
