"""`actionwatch teach`, through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from model.trained_model import load
from tests.model.color_family import color_model
from tests.two_kinds import write_videos
from ui.cli.main import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["teach", *map(str, arguments)])


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    return write_videos(tmp_path / "videos", 3)


def test_model_is_fitted_from_videos_once_other_has_samples(tmp_path: Path, videos: Path) -> None:
    project = tmp_path / "mine"
    alone = run("Blue", "--source", videos / "blue", "--project", project)
    assert alone.exit_code == 0
    assert f"{videos / 'blue'}: 3 new samples of Blue\n" in alone.stdout
    assert "no model was fitted yet: all samples have the label 'Blue'; they are stored" in (
        alone.stdout
    )
    assert not (project / "model").exists()
    red = ("--source", videos / "red" / "0.mp4", "--source", videos / "red")
    done = run("other", *red, "--project", project)
    assert done.exit_code == 0
    assert "fewer than 5 samples are hardly enough (Blue, other)" in done.stderr
    for line in (
        "red: 2 new samples of other, 1 known",
        "% of 3 samples\n  mean class accuracy",
        "with 3 samples of a label the standard error is ±29%",
        f"actionwatch run --model {project / 'model'}",
    ):
        assert line in done.stdout
    fitted = load(project / "model")
    assert (fitted.spec.model, fitted.spec.labels) == ("model", ("Blue", "other"))


def test_samples_of_the_label_and_of_other_are_recorded_from_a_camera(tmp_path: Path) -> None:
    project = tmp_path / "mine"
    options = ("--samples", 1, "--countdown", 0, "--duration", 0.2)
    done = run("hop/skip", "--source", "demo:3", "--project", project, *options)
    assert done.exit_code == 0
    assert "now do anything but hop/skip" in done.stdout
    assert (
        "hop/skip, sample 1 of 1: now, for 0.2 s\nhop/skip, sample 1 of 1: saved\n" in done.stdout
    )
    assert "no label has several samples: no evaluation" in done.stdout
    assert set(load(project / "model").spec.labels) == {"hop/skip", "other"}


def test_errors_are_one_line_and_write_nothing(tmp_path: Path, videos: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    blue = ("--source", videos / "blue")
    for arguments, message in (
        ((" ", *blue), "the label is empty"),
        (("a", *blue, "--head", "deep"), "--head deep: must be auto, prototypes or linear"),
        (("a", *blue, "--init", "none"), "model 'none' is neither embedded"),
        (("a", "--source", tmp_path / "empty"), "empty has no videos"),
        (("a", "--source", tmp_path / "nothing"), "no such file"),
        (("a", "--source", tmp_path / "file"), "videos need a suffix like .mp4"),
        (("a", "--source", "ftp://door"), "ftp:// is not known"),
    ):
        done = run(*arguments, "--project", tmp_path / "mine")
        assert (done.exit_code, done.stdout) == (2, "")
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "mine").exists()


def test_model_of_another_family_is_rejected_before_samples_are_recorded(
    tmp_path: Path, videos: Path
) -> None:
    with color_model(tmp_path):
        options = ("--source", videos / "blue", "--init", tmp_path)
        done = run("a", *options, "--project", tmp_path / "mine")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "training needs a TimeSformer; the model" in done.stderr
    assert done.stderr.endswith(" is of the family color\n")
    assert not (tmp_path / "mine").exists()


def test_unreachable_camera_ends_the_command(tmp_path: Path) -> None:
    done = run("a", "--source", "rtsp://127.0.0.1:1/none", "--project", tmp_path / "mine")
    assert done.exit_code == 2
    assert "can't be reached" in done.stderr
    assert done.stderr.count("\n") == 1
