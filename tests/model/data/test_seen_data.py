from __future__ import annotations

import json
from pathlib import Path

import pytest

from model.data.examples import Example
from model.data.seen_data import SeenData, as_json, read_seen_data


def video(folder: Path, name: str, size: int = 3) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x" * size)
    return folder / name


def stored(folder: Path, **splits: list[Example]) -> SeenData:
    (folder / "training.json").write_text(json.dumps({"videos": as_json(splits)}))
    return read_seen_data(folder)


def test_segments_of_a_video_have_their_own_splits(tmp_path: Path) -> None:
    path = video(tmp_path, "cam.mp4")
    seen = stored(
        tmp_path,
        train=[Example(path, "fall", 0.0, 60.0), Example(path, "fall", 120.0, 130.0)],
        val=[Example(path, "fall", 60.0, 120.0)],
    )
    assert seen.split_of(Example(path, "fall", None, 60.0)) == "train"
    assert seen.split_of(Example(path, "sit", 60.0, 120.0)) == "val"
    assert seen.split_of(Example(path, "fall", 130.0, 140.0)) == ""
    # Overlaps both: training data must not be used for evaluation.
    assert seen.split_of(Example(path, "fall", 50.0, 70.0)) == "train"
    assert seen.split_of(Example(path, "fall")) == "train"


def test_video_is_recognized_in_another_folder(tmp_path: Path) -> None:
    seen = stored(tmp_path, train=[Example(video(tmp_path / "a", "x.mp4"), "fall")])
    assert seen.split_of(Example(video(tmp_path / "b", "x.mp4"), "fall", 3.0, 4.0)) == "train"
    assert seen.split_of(Example(video(tmp_path / "b", "y.mp4"), "fall")) == ""
    assert seen.split_of(Example(video(tmp_path / "c", "x.mp4", size=4), "fall")) == ""


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"videos": {"train": ["x.mp4 3"]}}'])
def test_checkpoint_without_seen_data_has_seen_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "training.json").write_text(text)
    assert read_seen_data(tmp_path) == read_seen_data(tmp_path / "nowhere") == SeenData()
