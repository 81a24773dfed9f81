"""The frame of a benchmark: its options, a table of its rows, and a JSON file of the same."""

from __future__ import annotations

import argparse
import json
import os
import platform
from dataclasses import asdict, fields
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("torch", "transformers", "openvino", "opencv-python", "numpy", "pyzmq")


def parse_args(parser: argparse.ArgumentParser, **quick: Any) -> argparse.Namespace:
    """Parse the command line, with --json, and with --quick for the values `quick`."""
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    if quick:
        short = ", ".join(f"{name} {value}" for name, value in quick.items())
        parser.add_argument("--quick", action="store_true", help=f"a short run: {short}")
    args = parser.parse_args()
    if quick and args.quick:
        vars(args).update(quick)
    return args


class Report:
    """Prints the rows of a benchmark as a table, and writes them as JSON.

    A row is a dataclass; its fields with repr=False are only in the file.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self.rows: list[Any] = []
        print(machine())

    def add(self, row: Any) -> None:
        """Print a row, the first one below the names of its fields."""
        columns = [one for one in fields(row) if one.repr]
        if not self.rows:
            print("".join(_cell(one.type, one.name, one.name) for one in columns))
        self.rows.append(row)
        cells = [_cell(one.type, one.name, getattr(row, one.name)) for one in columns]
        print("".join(cells), flush=True)

    def write(self, **totals: Any) -> None:
        """Write the file, if one was asked for; `totals` are further keys."""
        if self._file is None:
            return
        report = {
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "machine": machine(),
            "versions": {"python": platform.python_version(), **_versions()},
            "rows": [asdict(row) for row in self.rows],
            **totals,
        }
        self._file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


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


def _cell(kind: object, name: str, value: object) -> str:
    """A value in its column: texts on the left, numbers on the right."""
    if kind == "str":
        return f"{value:<30}"
    text = "-" if value is None else str(value)
    if isinstance(value, float):
        text = f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{text:>{max(10, len(name) + 2)}}"


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
