"""The API does what its OpenAPI description says, whatever it is sent."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.site import start_site

_CONFIG = """\
[checks.negative_data_rejection]
expected-statuses = ["400", "403", "404", "409", "413", "415", "422", "429"]
"""
_NOT_CHECKED = (
    "positive_data_acceptance",  # thresholds may contradict each other: a declared 400 or 409
    "unsupported_method",  # what is not there is 404, whatever the method
    "allow_header_conformance",
)


def test_every_operation_does_what_is_said_of_it(tmp_path: Path) -> None:
    """Its edge cases, random ones, and some in a row; they may change the run's configuration."""
    config, wishes = tmp_path / "watch.yaml", tmp_path / "schemathesis.toml"
    config.write_text("cameras: {demo: {source: 'demo:0'}}\n")
    wishes.write_text(_CONFIG)
    with start_site(tmp_path, config=config) as site:
        # Its program, because its plugin reaches into pytest, whose versions change.
        asked = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(wishes)),
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
    assert asked.returncode == 0, asked.stdout
    assert re.search(r"Selected: (\d+)/\1\s+Tested: \1\s", asked.stdout), asked.stdout
