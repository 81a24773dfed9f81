"""`actionwatch teach`, as a person runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from model.trained_model import load
from tests.two_kinds import write_films
from ui.cli.few_shot_commands import teach

app = typer.Typer()
app.command()(teach)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def films(tmp_path: Path) -> Path:
    return write_films(tmp_path / "films", 3)


def test_films_teach_a_label_once_other_is_there(tmp_path: Path, films: Path) -> None:
    into = tmp_path / "mine"
    alone = run("Blue", "--source", films / "blue", "--into", into)
    assert alone.exit_code == 0
    assert f"{films / 'blue'}: 3 new takes of Blue\n" in alone.stdout
    assert "nothing is fitted yet: there are only takes of 'Blue'; the takes stay" in alone.stdout
    assert not (into / "model").exists()
    red = ("--source", films / "red" / "0.mp4", "--source", films / "red")
    done = run("other", *red, "--into", into)
    assert done.exit_code == 0
    assert "fewer than 5 takes are hardly enough (Blue, other)" in done.stderr
    for line in (
        "red: 2 new takes of other, 1 known",
        "% of 3 takes\n  mean of the labels",
        "with 3 takes of a label a figure is worth ±29%",
        f"actionwatch run --model {into / 'model'}",
    ):
        assert line in done.stdout
    made = load(into / "model")
    assert (made.spec.model, made.spec.labels) == ("model", ("Blue", "other"))


def test_a_camera_is_recorded_and_so_is_anything_else(tmp_path: Path) -> None:
    into = tmp_path / "mine"
    options = ("--takes", 1, "--pause", 0, "--seconds", 0.2)
    done = run("hop/skip", "--source", "demo:3", "--into", into, *options)
    assert done.exit_code == 0
    assert "now anything else than hop/skip" in done.stdout
    assert "hop/skip, take 1 of 1: now, for 0.2 s\nhop/skip, take 1 of 1: kept\n" in done.stdout
    assert "no label has several takes: nothing could be measured" in done.stdout
    assert set(load(into / "model").spec.labels) == {"hop/skip", "other"}


def test_mistakes_are_told_in_one_line_and_make_nothing(tmp_path: Path, films: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    blue = ("--source", films / "blue")
    for arguments, told in (
        ((" ", *blue), "the label is empty"),
        (("a", *blue, "--head", "deep"), "--head deep: must be auto, prototypes or linear"),
        (("a", *blue, "--init", "none"), "model 'none' is neither embedded"),
        (("a", "--source", tmp_path / "empty"), "empty holds no films"),
        (("a", "--source", tmp_path / "nothing"), "no such file"),
        (("a", "--source", tmp_path / "file"), "films have names that end in .mp4"),
        (("a", "--source", "ftp://door"), "ftp:// is not known"),
    ):
        done = run(*arguments, "--into", tmp_path / "mine")
        assert (done.exit_code, done.stdout) == (2, "")
        assert told in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "mine").exists()


def test_a_camera_that_cannot_be_reached_ends_it(tmp_path: Path) -> None:
    done = run("a", "--source", "rtsp://127.0.0.1:1/none", "--into", tmp_path / "mine")
    assert done.exit_code == 2
    assert "can't be reached" in done.stderr
    assert done.stderr.count("\n") == 1
