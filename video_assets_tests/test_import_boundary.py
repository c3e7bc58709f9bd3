"""Who may import whom: the house's plan, held by reading the code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "video_assets"

GROUND = {"errors", "environment", "plural", "sizes", "mp4_boxes", "keys"} | {
    "path_template",
    "topic_template",
    "tables",
    "settings",
}
MAY_IMPORT = {
    "errors": set(),
    "plural": set(),
    "sizes": set(),
    "mp4_boxes": set(),
    "keys": {"errors"},
    "path_template": {"errors", "keys"},
    "topic_template": {"path_template"},
    "tables": set(),
    "environment": {"errors"},
    "settings": {"environment", "errors", "keys", "path_template", "topic_template"},
    "storage": GROUND,
    "table_store": GROUND | {"storage"},
    "sources": GROUND | {"storage"},
    "uploads": GROUND | {"storage"},
    "video": {"errors", "mp4_boxes"},
    "work": {"errors"},
    "embedding": {"errors"},
    "vectors": {"errors"},
    "search": GROUND | {"embedding", "vectors", "video"},
    "stages": GROUND | {"storage", "table_store", "sources", "video", "work", "embedding", "vectors"},
    "io_managers": GROUND | {"table_store"},
    "defs": GROUND | {"dagster_home", "io_managers", "stages", "storage", "table_store", "sources"},
    "definitions": {"defs"},
    "folder_probe": {"errors"},
    "doctor": GROUND
    | {"dagster_home", "folder_probe", "sources", "storage", "table_store", "stages", "search", "embedding", "vectors"},
    "dagster_home": {"errors"},
    "dagster_processes": {"errors", "dagster_home", "defs"},
    "demo": GROUND
    | {"dagster_home", "sources", "storage", "table_store", "stages", "search", "vectors", "defs", "definitions"},
    "cli": GROUND
    | {"dagster_home", "dagster_processes", "definitions", "defs", "demo", "doctor"}
    | {"archive", "downloads", "search", "sources", "stages", "storage", "table_store", "uploads", "vectors"}
    | {"video"},
    "downloads": GROUND | {"folder_probe", "storage", "table_store"},
    "archive": GROUND | {"downloads", "folder_probe"},
    "__init__": {"downloads"},
}
DAGSTER_ROOMS = {"defs", "io_managers", "definitions"}

MODULES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Every module imported anywhere in a file, in functions and under TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_what_stands_below_it(path: Path) -> None:
    rooms = {name.split(".")[1] for name in imports(path) if name.startswith("video_assets.")}
    assert rooms <= MAY_IMPORT[room(path)] | {room(path)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_dagster_layer_imports_dagster(path: Path) -> None:
    uses = any(name.split(".")[0] == "dagster" for name in imports(path))
    assert not uses or room(path) in DAGSTER_ROOMS


def test_only_settings_reads_the_environment() -> None:
    # The command line sets what the demo's processes inherit; workers are started with their parent's environment.
    allowed = {
        "environment.py",
        "cli/__init__.py",
        "cli/setup.py",
        "cli/upkeep.py",
        "work/worker.py",
        "work/worker_main.py",
    }
    readers = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb")
    }
    assert readers <= allowed


def test_the_plan_has_no_circle() -> None:
    below: dict[str, set[str]] = {name: rooms - {name} for name, rooms in MAY_IMPORT.items()}
    while free := {name for name, rooms in below.items() if not rooms & below.keys()}:
        below = {name: rooms for name, rooms in below.items() if name not in free}
    assert not below


def test_the_package_imports_without_dagster_and_heavy_libraries() -> None:
    import subprocess
    import sys

    code = (
        "import sys; import video_assets.cli, video_assets.settings, video_assets.stages.items; "
        "import video_assets.storage.registry, video_assets.table_store.registry; "
        "heavy = {'dagster', 'av', 'cv2', 'onnxruntime', 'PIL', 'qdrant_client', 'qdrant_edge', 'scenedetect', "
        "'simplejpeg', 'torch', 'boto3', 'botocore', 'obstore', 'odps', 'pandas'}; "
        "sys.exit(str(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_decode_engine_starts_without_settings_clouds_and_locks() -> None:
    """`video-assets frames extract` is run once a clip, so that what it imports is paid as often."""
    import subprocess
    import sys

    code = (
        "import sys; from video_assets.storage.registry import open_store; import video_assets.stages.extraction; "
        "open_store('/tmp'); "
        "unneeded = {'pydantic', 'asyncio', 'email', 'filelock', 'pyarrow.dataset', 'numpy.ma', "
        "'video_assets.settings', 'video_assets.storage.s3', 'video_assets.storage.oss', "
        "'video_assets.storage.local_uploads', 'video_assets.table_store.table_store'} & set(sys.modules); "
        "sys.exit(str(sorted(unneeded)) if unneeded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
