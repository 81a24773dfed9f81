"""The arrows of docs/architecture.md: what may import what."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("stream", "model", "ui")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

# What the model may know of the stream: words and wires, and the drawn clips.
MODEL_MAY_IMPORT = {
    "stream.messages",
    "stream.settings.config",
    "stream.settings.config_file",
    "stream.notes",
    "stream.threads",
    "stream.workers.endpoint",
    "stream.workers.keys",
    "stream.workers.transport",
    "stream.synthetic",
}
# And what learns from films, of films.
LEARNING_MAY_IMPORT = MODEL_MAY_IMPORT | {
    "stream.locks",
    "stream.settings.config_types",
    "stream.camera.decoding",
    "stream.camera.resize",
    "stream.camera.ring",
    "stream.camera.sampling",
    "stream.clips.class_folder",
    "stream.clips.training_folder",
}
# Left to right, as data flows; no file imports anything to the right of it.
STREAM = (
    ("", "messages"),
    ("settings", "config_types keeping_config dashboard_config config config_file"),
    ("settings", "changes config_text"),
    ("", "threads allocator locks notes trouble metrics child"),
    ("synthetic", "motions canvas backgrounds things people stage clips scene"),
    ("camera", "resize decoding isolated credentials reachability recording source_clock sources"),
    ("camera", "ring sampling zone motion_gate clip_stream picture picture_check examine reading"),
    ("camera", "capture cameras"),
    ("workers", "endpoint keys admission wire transport window_grid dispatch turns scheduler"),
    ("workers", "supervisor crew"),
    ("log", "score_log event_rows journal log_database event_query event_log event_writer"),
    ("log", "disk_guard retention"),
    ("clips", "clip_buffer clip_file event_clip recorder class_folder training_folder takes"),
    ("detection", "events replay score_table segmenting trial"),
    ("exchange", "placing elan exports imports matching scoring"),
    ("alerting", "delivery outbox alert_filter webhook mqtt_topics mqtt_line mqtt courier alerts"),
    ("alerting", "publisher"),
    ("", "judge guest guests keeping listeners pipeline films scan"),
)
ORDER = [
    ".".join(filter(None, ("stream", room, name)))
    for room, names in STREAM
    for name in names.split()
]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in FILES
}


def imported_modules(file: Path, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def packages_of(modules: set[str]) -> set[str]:
    return {module.split(".")[0] for module in modules}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_arrow_points_back(file: Path) -> None:
    modules = imported_modules(file)
    packages = packages_of(modules)
    here = file.relative_to(ROOT).parts[0]
    if here == "stream":
        assert not packages & {"torch", "gradio", "model", "ui"}
    elif here == "model":
        assert not packages & {"gradio", "ui"}
        from_stream = {m for m in modules & set(MODULES) if m.startswith("stream.")}
        learns = "learning" in file.parts
        assert from_stream <= (LEARNING_MAY_IMPORT if learns else MODEL_MAY_IMPORT)
        # What a watch runs knows nothing of training.
        ours = {m.split(".")[1] for m in modules if m.startswith("model.")}
        if file.parent.name == "model":
            assert not ours & {"learning", "motion"}
        elif learns:
            assert "motion" not in ours
    else:
        at_once = packages_of(imported_modules(file, top_level_only=True))  # inside functions: fine
        assert not at_once & {"model", "torch"}


def test_the_stream_flows_one_way() -> None:
    files = {name for name, path in MODULES.items() if path.name != "__init__.py"}
    assert {name for name in files if name.startswith("stream.")} == set(ORDER)
    for place, name in enumerate(ORDER):
        uses = imported_modules(MODULES[name]) & set(ORDER)
        assert uses <= set(ORDER[:place]), f"{name} looks to the right"


def test_only_the_lines_to_workers_and_subscribers_import_zmq() -> None:
    users = [file for file in FILES if "zmq" in packages_of(imported_modules(file))]
    assert [file.stem for file in users] == ["publisher", "admission", "keys", "transport"]


def test_the_command_line_loads_no_heavy_package_at_once() -> None:
    at_once = packages_of(imported_modules(ROOT / "ui" / "cli.py", top_level_only=True))
    assert not at_once & {"torch", "gradio", "cv2", "numpy", "sqlalchemy", "stream", "model"}
