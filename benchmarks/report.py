"""The JSON report of a benchmark: its rows, with machine, versions and date."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("torch", "transformers", "openvino", "opencv-python", "numpy", "pyzmq")


def write_report(file: Path, rows: Iterable[Any], **totals: Any) -> None:
    """Write dataclass rows as JSON; `totals` are further keys."""
    report = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {"python": platform.python_version(), **_versions()},
        "rows": [asdict(row) for row in rows],
        **totals,
    }
    file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def machine() -> str:
    """Processor, cores and GPU, if any."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = (line.partition(":") for line in info.read_text().splitlines())
        name = next((value.strip() for key, _, value in lines if key.strip() == "model name"), name)
    import torch

    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    return f"{name}, {os.cpu_count()} cores{gpu}"


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
