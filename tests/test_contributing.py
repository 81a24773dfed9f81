"""The extensions of CONTRIBUTING.md, run as they stand there: each registers itself."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from threading import Event as StopEvent
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from model.engines.base import ENGINES
from model.families.base import FAMILIES
from model.predictor import Predictor
from model.trained_model import load
from stream.config.config import CameraConfig, InferenceConfig
from stream.formats.base import FORMATS
from stream.regions.base import REGION_TYPES, regions_of
from stream.runtime.registry import Registry
from stream.scheduling.policy import POLICIES
from stream.sinks.base import SINKS
from stream.sources.base import SOURCE_TYPES, OpenOptions, open_source, source_type
from stream.workers.launcher import LAUNCHERS

_TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
_CODE = dict(re.findall(r"^Save as `([\w/]+\.py)`:\n\n```python\n(.*?)^```$", _TEXT, re.M | re.S))
_REGISTRIES: dict[str, Registry[Any]] = {
    "stream/sources/countdown.py": SOURCE_TYPES,
    "stream/regions/corner.py": REGION_TYPES,
    "stream/scheduling/yard_first.py": POLICIES,
    "model/engines/eager.py": ENGINES,
    "model/families/color.py": FAMILIES,
    "stream/formats/audacity.py": FORMATS,
    "stream/sinks/long_events.py": SINKS,
    "stream/workers/nice_process.py": LAUNCHERS,
}


@contextmanager
def added(path: str, folder: Path) -> Iterator[ModuleType]:
    """Run the code of a path; afterwards what it has registered is removed."""
    registry = _REGISTRIES[path]
    before = set(registry)
    file = folder / Path(path).name
    file.write_text(_CODE[path], encoding="utf-8")
    spec = spec_from_file_location(f"contributed_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[spec.name]
        for name in set(registry) - before:
            registry.remove(name)


def test_every_kind_of_extension_has_a_walk_through() -> None:
    assert set(_CODE) == set(_REGISTRIES)


@pytest.mark.parametrize("path", _REGISTRIES)
def test_one_file_adds_one_extension(path: str, tmp_path: Path) -> None:
    before = set(_REGISTRIES[path])
    with added(path, tmp_path):
        assert len(set(_REGISTRIES[path]) - before) == 1
    assert set(_REGISTRIES[path]) == before


def test_source_delivers_its_frames(tmp_path: Path) -> None:
    with added("stream/sources/countdown.py", tmp_path):
        assert source_type("countdown:2") == "countdown"
        source = open_source("countdown:2", OpenOptions(paced=False))
        times = [source.grab(StopEvent()) for _ in range(3)]
        assert [time.time_s for time in times[:2] if time] == [0.0, 0.04]
        assert times[2] is None
        source.close()


def test_region_is_cut_from_each_camera(tmp_path: Path) -> None:
    with added("stream/regions/corner.py", tmp_path):
        regions = regions_of("door", CameraConfig(source="demo:0"))
        names = [name for region in regions for name in region.clip_sources()]
    assert "door/corner" in names


def test_engine_scores_as_the_network_does(tmp_path: Path) -> None:
    model = load("motion")
    spec = model.spec
    shape = (2, spec.frames, spec.height, spec.width, 3)
    batch = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    expected = Predictor(model, InferenceConfig(engine="torch", precision="fp32")).predict(batch)
    with added("model/engines/eager.py", tmp_path):
        scores = Predictor(model, InferenceConfig(engine="eager")).predict(batch)
    assert np.allclose(scores, expected, atol=1e-4)
