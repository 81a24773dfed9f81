"""The API conforms to its OpenAPI schema for any input."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.site import IDLE_CAMERA, start_site

_CONFIG = """\
[checks.negative_data_rejection]
expected-statuses = ["400", "403", "404", "409", "413", "415", "422", "429"]
"""
_NOT_CHECKED = (
    "positive_data_acceptance",  # thresholds may contradict each other: a declared 400 or 409
    "unsupported_method",  # unknown paths are 404 for every method
    "allow_header_conformance",
)


def test_every_operation_conforms_to_the_schema(tmp_path: Path) -> None:
    """Edge cases, random cases and sequences; they may change the run's configuration."""
    config, schemathesis_config = tmp_path / "config.yaml", tmp_path / "schemathesis.toml"
    config.write_text(f"cameras: {{demo: {IDLE_CAMERA}}}\n")
    schemathesis_config.write_text(_CONFIG)
    with start_site(tmp_path, config=config) as site:
        # Its CLI, because its pytest plugin depends on pytest internals.
        result = subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "schemathesis.cli",
                    "--config-file",
                    str(schemathesis_config),
                ),
                *("run", site.url("api/openapi.json"), "--no-color", "--continue-on-failure"),
                *("--max-examples", "25", "--generation-deterministic"),
                *("--request-timeout", "20", "--exclude-checks", ",".join(_NOT_CHECKED)),
            ],
            cwd=tmp_path,  # it writes there
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
    assert result.returncode == 0, result.stdout
    assert re.search(r"Selected: (\d+)/\1\s+Tested: \1\s", result.stdout), result.stdout
