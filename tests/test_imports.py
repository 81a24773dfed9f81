"""Imports that wait until they are needed. Layers are checked by import-linter in `make lint`."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def packages_imported_at_once(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("file", sorted((ROOT / "ui").rglob("*.py")), ids=lambda file: file.stem)
def test_the_page_imports_models_and_torch_only_inside_commands(file: Path) -> None:
    assert not packages_imported_at_once(file) & {"model", "torch"}


def test_a_worker_checks_its_arguments_and_a_scan_finds_its_model_without_torch() -> None:
    code = "import sys, model.worker, model.model_folder; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_command_line_loads_no_heavy_package_at_once() -> None:
    at_once = packages_imported_at_once(ROOT / "ui" / "cli" / "main.py")
    assert not at_once & {"torch", "gradio", "cv2", "numpy", "sqlalchemy", "stream", "model"}
