from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from model.trained_model import TrainedModel, save
from stream.messages import Clip, ClipSpec
from stream.workers.curve_auth import make, watch_keys
from stream.workers.transport import SchedulerEnd
from stream.workers.wire import Answer, Ask, Failure, Hello, Message, Work


class Line:
    """The scheduler's end of a line to a real worker process."""

    def __init__(self, folder: Path, model: str, *options: str, far: bool = False) -> None:
        """With `far` it is over tcp, with the keys that are in the folder."""
        if far:
            keys = watch_keys(folder / "watch.keys")
            self.link = SchedulerEnd("tcp://127.0.0.1:*", keys=keys)
        else:
            self.link = SchedulerEnd(f"ipc://{folder / 'line'}")
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "model.worker",
                "--connect",
                self.link.endpoint,
                "--model",
                model,
                "--name",
                "w",
                *options,
            ],
            stderr=subprocess.PIPE,
            text=True,
        )

    def hear(self, kind: type[Message]) -> Message:
        for _ in range(600):
            heard = self.link.receive()
            if heard is None:
                self.link.wait(0.1)
            elif isinstance(heard[1], kind):
                return heard[1]
        raise AssertionError(f"no {kind.__name__} came")

    def close(self) -> tuple[int, str]:
        """End the worker as the supervisor does. Its exit code, and what it wrote to stderr."""
        self.process.terminate()
        _, errors = self.process.communicate(timeout=20)
        self.link.__exit__()
        return self.process.returncode, errors


def random_clip(number: int, spec: ClipSpec) -> Clip:
    import numpy as np

    rng = np.random.default_rng(number)
    shape = (spec.frames, spec.height, spec.width, 3)
    return Clip("door", number, rng.integers(0, 256, shape, dtype=np.uint8), spec.times(1.0))


def test_a_worker_announces_its_model_and_answers_clips(
    tmp_path: Path, trained: TrainedModel
) -> None:
    save(trained, tmp_path / "tiny")
    line = Line(tmp_path, str(tmp_path / "tiny"))
    try:
        hello = line.hear(Hello)
        assert isinstance(hello, Hello)
        assert hello.spec == trained.spec
        ask = line.hear(Ask)
        assert isinstance(ask, Ask)
        clips = tuple(random_clip(number, hello.spec) for number in (1, 2))
        assert line.link.send(b"w", Work(clips))
        answer = line.hear(Answer)
        assert isinstance(answer, Answer)
        assert [scores.number for scores in answer.scores] == [1, 2]
        for scores in answer.scores:
            assert scores.probabilities.shape == (len(trained.spec.labels),)
            assert scores.probabilities.sum() == pytest.approx(1, abs=1e-4)
            assert scores.inference_s > 0
        assert line.hear(Ask) == ask  # and it is free again
    finally:
        code, errors = line.close()
    assert code == 0
    (told,) = errors.splitlines()
    assert "model tiny is ready" in told


def test_a_worker_that_cannot_load_its_model_tells_the_scheduler(tmp_path: Path) -> None:
    line = Line(tmp_path, str(tmp_path / "nowhere"))
    try:
        failure = line.hear(Failure)
        assert isinstance(failure, Failure)
        assert "nowhere" in failure.reason
        line.process.wait(20)
    finally:
        code, errors = line.close()
    assert code == 2
    (told,) = errors.splitlines()  # nobody but us started it, so it says it here as well
    assert "nowhere" in told


def test_a_worker_runs_the_model_as_it_is_told(tmp_path: Path, trained: TrainedModel) -> None:
    save(trained, tmp_path / "tiny")
    line = Line(tmp_path, str(tmp_path / "tiny"), "--precision=fp32", "--batch=2")
    try:
        line.hear(Hello)
        asked = line.hear(Ask)
        assert asked.room == 2
    finally:
        code, errors = line.close()
    assert code == 0
    assert "model tiny is ready: torch fp32 on " in errors


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--precision=fp64", "actionwatch worker: --precision: "),
        ("--batch=many", "actionwatch worker: --batch: "),
        ("--engine=magic", "actionwatch worker: --engine: "),
        ("--device=gpu", "actionwatch worker: --device: "),
        ("--device=cuda:63", "device cuda:63 is not there: torch "),
    ],
)
def test_a_worker_names_a_choice_that_there_is_not(tmp_path: Path, option: str, words: str) -> None:
    line = Line(tmp_path, "motion", option)
    line.process.wait(60)
    code, errors = line.close()
    assert code == 2
    assert words in errors
    assert "Traceback" not in errors


def test_a_worker_on_another_machine_comes_with_its_keys(
    tmp_path: Path, trained: TrainedModel
) -> None:
    make(tmp_path)
    save(trained, tmp_path / "tiny")
    line = Line(tmp_path, str(tmp_path / "tiny"), f"--keys={tmp_path / 'worker.keys'}", far=True)
    try:
        line.hear(Hello)
        line.hear(Ask)
        assert line.link.send(b"w", Work((random_clip(1, trained.spec),)))
        line.hear(Answer)
    finally:
        code, errors = line.close()
    assert code == 0
    assert "Traceback" not in errors


def test_a_worker_whose_key_is_unknown_ends_with_what_to_do(
    tmp_path: Path, trained: TrainedModel
) -> None:
    make(tmp_path)
    (tmp_path / "strangers").mkdir()
    make(tmp_path / "strangers")
    theirs = tmp_path / "strangers" / "worker.keys"
    ours = tmp_path / "watch.keys"
    public = ours.read_text().partition("\npublic ")[2].split()[0]
    theirs.write_text(re.sub("(?m)^watch .*", lambda _: f"watch {public}", theirs.read_text()))
    save(trained, tmp_path / "tiny")
    line = Line(tmp_path, str(tmp_path / "tiny"), f"--keys={theirs}", far=True)
    try:
        for _ in range(600):
            assert line.link.receive() is None
            if line.process.poll() is not None:
                break
            line.link.wait(0.1)
    finally:
        code, errors = line.close()
    assert code == 2
    (told,) = [text for text in errors.splitlines() if text.startswith("actionwatch worker: ")]
    assert "does not know the key of" in told
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (None, "without keys; make them on the watch's machine with `actionwatch keys DIR`"),
        ("watch.keys", "give the file that `actionwatch keys` made for the worker"),
        ("none.keys", "none.keys can't be read: No such file or directory"),
    ],
)
def test_a_mistake_about_keys_is_told_before_the_model_is_loaded(
    tmp_path: Path, keys: str | None, words: str
) -> None:
    make(tmp_path)
    options = [] if keys is None else [f"--keys={tmp_path / keys}"]
    line = Line(tmp_path, str(tmp_path / "no model"), *options, far=True)
    line.process.wait(60)
    code, errors = line.close()
    assert code == 2
    (told,) = errors.splitlines()
    assert words in told
