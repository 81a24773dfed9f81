"""Scan jobs: names and keys of videos, and the manifest of a folder."""

from __future__ import annotations

from datetime import datetime, timezone
from itertools import permutations
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from stream.config.config import Config
from stream.config.events import EventsConfig
from stream.config.types import Name
from stream.scan.manifest import ManifestEntry, ScanError, plan, read_manifest, write_manifest

START = datetime(2026, 5, 1, tzinfo=timezone.utc)


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    return Config(data=tmp_path / "out")


def written(file: Path, content: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


def names_of(files: list[Path], settings: Config) -> dict[Path, str]:
    return {one.file: one.name for one in plan(files, settings)}


def scanned(files: list[Path], settings: Config) -> dict[Path, str]:
    """Plan these videos and write the manifest like a scan."""
    settings.data.mkdir(exist_ok=True)
    jobs = plan(files, settings)
    write_manifest(
        settings.data, {one.name: ManifestEntry(one.content, one.scan_input.key) for one in jobs}
    )
    return {one.file: one.name for one in jobs}


def test_video_has_the_name_of_its_file(tmp_path: Path, settings: Config) -> None:
    file = written(tmp_path / "hall way.mp4", "video")
    assert names_of([file], settings) == {file: "hall_way"}


def test_videos_with_the_same_name_get_distinct_names(tmp_path: Path, settings: Config) -> None:
    files = [written(tmp_path / folder / "x.mp4", folder) for folder in "abc"]
    found = [names_of(list(order), settings) for order in permutations(files)]
    assert found == [found[0]] * len(found)
    assert len(set(found[0].values())) == 3
    assert all(name.startswith("x-") for name in found[0].values())


def test_later_video_does_not_reuse_an_earlier_name(tmp_path: Path, settings: Config) -> None:
    first, second = written(tmp_path / "кот.mp4", "cat"), written(tmp_path / "пёс.mp4", "dog")
    assert scanned([first], settings) == {first: "video"}
    names = scanned([second], settings)
    assert names[second].startswith("video-")
    # Both names are stable.
    assert names_of([second, first], settings) == {first: "video", **names}


def test_copies_with_the_same_name_are_one_job(tmp_path: Path, settings: Config) -> None:
    files = [written(tmp_path / folder / "x.mp4", "same") for folder in "ab"]
    (one,) = plan([*files, files[0]], settings)
    assert (one.name, one.file, one.copies) == ("x", files[0], (files[1],))


@pytest.mark.parametrize("stem", ["x" * 200, ".hidden.", "-o", "日本", "a/../b".replace("/", "\\")])
def test_every_file_name_gives_a_valid_camera_name(
    tmp_path: Path, settings: Config, stem: str
) -> None:
    for folder in "ab":
        written(tmp_path / folder / f"{stem}.mp4", folder)
    names = names_of(list(tmp_path.glob("?/*.mp4")), settings).values()
    assert len(set(names)) == 2
    for name in names:
        TypeAdapter(Name).validate_python(name)


def test_key_changes_with_everything_that_affects_events(tmp_path: Path, settings: Config) -> None:
    video = written(tmp_path / "x.mp4", "video")
    weights = written(tmp_path / "model" / "model.safetensors", "weights").parent

    def key(
        start_utc: datetime = START, model_folder: Path | None = None, **changes: object
    ) -> str:
        changed = settings.model_copy(update=changes)
        (job,) = plan([video], changed, model_folder=model_folder, start_utc=start_utc)
        return job.scan_input.key

    def of_worker(**changes: object) -> str:
        return key(worker=settings.worker.model_copy(update=changes))

    keys = [
        key(),
        key(start_utc=START.replace(year=2025)),
        key(events=EventsConfig(threshold=0.9)),
        key(window=settings.window.model_copy(update={"stride": 0.5})),
        of_worker(engine="openvino"),
        of_worker(precision="int8"),
        of_worker(device="cuda:1"),
        of_worker(compile="on"),
        key(model="owner/model"),
        key(model_folder=weights),
    ]
    written(weights / "model.safetensors", "other weights")
    keys.append(key(model_folder=weights))
    written(video, "another video")
    keys.append(key())
    assert len(set(keys)) == len(keys)
    assert key() == keys[-1] == key(data=tmp_path / "elsewhere")
    assert of_worker(max_batch_size=7, result_timeout=9.0) == key()  # no effect on events


def test_on_read_reports_all_bytes(tmp_path: Path, settings: Config) -> None:
    files = [written(tmp_path / f"{size}.mp4", "x" * size) for size in (10, 3_000_000)]
    read: list[int] = []
    plan(files, settings, on_read=read.append)
    assert sum(read) == 3_000_010
    assert max(read) <= 2**20


def test_error_names_unreadable_file(tmp_path: Path, settings: Config) -> None:
    with pytest.raises(OSError, match=r"none\.mp4"):
        plan([tmp_path / "none.mp4"], settings)


@pytest.mark.parametrize("content", ["{", "[]", '{"x": "key"}', '{"x": {"key": ""}}'])
def test_error_names_invalid_manifest(tmp_path: Path, content: str) -> None:
    written(tmp_path / "scanned.json", content)
    with pytest.raises(ScanError, match=r"scanned\.json is not a manifest .* --out"):
        read_manifest(tmp_path)


def test_error_names_manifest_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "scanned.json.part").mkdir()
    with pytest.raises(ScanError, match=r"scanned\.json can't be written: Is a directory"):
        write_manifest(tmp_path, {"x": ManifestEntry("content")})
