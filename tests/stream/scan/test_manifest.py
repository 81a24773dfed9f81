"""What there is to scan: names and keys of films, and a folder's notes."""

from __future__ import annotations

from datetime import datetime, timezone
from itertools import permutations
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from stream.config.config import Config
from stream.config.events import EventsConfig
from stream.config.types import Name
from stream.scan.manifest import Noted, ScanError, note, notes, plan

BEGAN = datetime(2026, 5, 1, tzinfo=timezone.utc)


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    return Config(data=tmp_path / "out")


def written(file: Path, content: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


def named(files: list[Path], settings: Config) -> dict[Path, str]:
    return {one.file: one.name for one in plan(files, settings)}


def scanned(files: list[Path], settings: Config) -> dict[Path, str]:
    """Plan these films, and note them as a scan would."""
    settings.data.mkdir(exist_ok=True)
    wanted = plan(files, settings)
    note(settings.data, {one.name: Noted(one.content, one.film.key) for one in wanted})
    return {one.file: one.name for one in wanted}


def test_a_film_is_called_as_its_file(tmp_path: Path, settings: Config) -> None:
    file = written(tmp_path / "hall way.mp4", "film")
    assert named([file], settings) == {file: "hall_way"}


def test_films_of_one_name_are_told_apart_in_any_order(tmp_path: Path, settings: Config) -> None:
    files = [written(tmp_path / folder / "x.mp4", folder) for folder in "abc"]
    found = [named(list(order), settings) for order in permutations(files)]
    assert found == [found[0]] * len(found)
    assert len(set(found[0].values())) == 3
    assert all(name.startswith("x-") for name in found[0].values())


def test_a_later_film_does_not_take_the_name_of_an_earlier_one(
    tmp_path: Path, settings: Config
) -> None:
    first, second = written(tmp_path / "кот.mp4", "cat"), written(tmp_path / "пёс.mp4", "dog")
    assert scanned([first], settings) == {first: "film"}
    names = scanned([second], settings)
    assert names[second].startswith("film-")
    # And both keep theirs.
    assert named([second, first], settings) == {first: "film", **names}


def test_the_same_film_under_one_name_is_one_film(tmp_path: Path, settings: Config) -> None:
    files = [written(tmp_path / folder / "x.mp4", "same") for folder in "ab"]
    (one,) = plan([*files, files[0]], settings)
    assert (one.name, one.file, one.copies) == ("x", files[0], (files[1],))


@pytest.mark.parametrize("stem", ["x" * 200, ".hidden.", "-o", "日本", "a/../b".replace("/", "\\")])
def test_every_file_name_makes_a_name_that_a_camera_may_have(
    tmp_path: Path, settings: Config, stem: str
) -> None:
    for folder in "ab":
        written(tmp_path / folder / f"{stem}.mp4", folder)
    for name in named(list(tmp_path.glob("?/*.mp4")), settings).values():
        TypeAdapter(Name).validate_python(name)


def test_the_key_tells_whatever_changes_events(tmp_path: Path, settings: Config) -> None:
    film = written(tmp_path / "x.mp4", "film")
    weights = written(tmp_path / "model" / "model.safetensors", "weights").parent

    def key(began: datetime = BEGAN, **changes: object) -> str:
        return plan([film], settings.model_copy(update=changes), began=began)[0].film.key

    def of_worker(**changes: object) -> str:
        return key(worker=settings.worker.model_copy(update=changes))

    keys = [
        key(),
        key(began=BEGAN.replace(year=2025)),
        key(events=EventsConfig(enter=0.9)),
        key(window=settings.window.model_copy(update={"stride": 0.5})),
        of_worker(engine="openvino"),
        of_worker(precision="int8"),
        of_worker(device="cuda:1"),
        of_worker(compile="on"),
        key(model=str(weights)),
    ]
    written(weights / "model.safetensors", "others")
    keys.append(key(model=str(weights)))
    written(film, "another film")
    keys.append(key())
    assert len(set(keys)) == len(keys)
    assert key() == keys[-1] == key(data=tmp_path / "elsewhere")
    assert of_worker(batch=7, answer_within=9.0) == key()  # nothing to do with events


def test_it_is_told_how_much_was_read(tmp_path: Path, settings: Config) -> None:
    files = [written(tmp_path / f"{size}.mp4", "x" * size) for size in (10, 3_000_000)]
    read: list[int] = []
    plan(files, settings, on_read=read.append)
    assert sum(read) == 3_000_010
    assert max(read) <= 2**20


def test_a_file_that_cannot_be_read_is_an_error_with_its_name(
    tmp_path: Path, settings: Config
) -> None:
    with pytest.raises(OSError, match=r"none\.mp4"):
        plan([tmp_path / "none.mp4"], settings)


@pytest.mark.parametrize("content", ["{", "[]", '{"x": "key"}', '{"x": {"key": ""}}'])
def test_notes_that_cannot_be_read_are_named(tmp_path: Path, content: str) -> None:
    written(tmp_path / "scanned.json", content)
    with pytest.raises(ScanError, match=r"scanned\.json holds no notes .* --out"):
        notes(tmp_path)


def test_notes_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "scanned.json.part").mkdir()
    with pytest.raises(ScanError, match=r"scanned\.json can't be written: Is a directory"):
        note(tmp_path, {"x": Noted("content")})
