"""Event files: exports as text, and files of ground truth."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from stream.formats.base import Options, export


def exported(rows: list[dict[str, Any]], format_name: str, **options: Any) -> str:
    """The text of an export."""
    file = io.BytesIO()
    export(rows, file, format_name, Options(**options))
    return file.getvalue().decode("utf-8")


def written(folder: Path, text: str, name: str = "walk.csv", encoding: str = "utf-8") -> Path:
    """A new file with a text."""
    file = folder / name
    file.write_bytes(text.encode(encoding))
    return file
