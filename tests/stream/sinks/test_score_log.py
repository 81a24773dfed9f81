from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from stream.messages import ClipSpec, Prediction
from stream.runtime.metrics import Metrics
from stream.sinks.score_log import ScoreLog, as_kept, read_scores

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


def prediction(spec: ClipSpec, end_s: float, *, camera: str = "door", seed: int = 0) -> Prediction:
    shares = np.random.default_rng((seed, int(end_s * 1000))).random(len(spec.labels))
    return Prediction(
        camera=camera,
        labels=spec.labels,
        probabilities=as_kept((shares / shares.sum()).astype(np.float32)),
        start_s=end_s - spec.span_s + spec.step_s,
        end_s=end_s,
        newest_at=0.0,
        inference_s=0.0,
    )


def keep(folder: Path, spec: ClipSpec, predictions: list[Prediction], run: str = "a" * 32) -> None:
    log = ScoreLog(folder, run, spec, Metrics(), gap_s=5.0)
    for one in predictions:
        log.put(one, NOON + timedelta(seconds=one.end_s))
    log.close_all()


@pytest.fixture
def large(spec: ClipSpec) -> ClipSpec:
    return replace(spec, labels=tuple(f"label {number}" for number in range(400)))


def test_what_was_kept_comes_back_as_it_was_judged(tmp_path: Path, spec: ClipSpec) -> None:
    made = [prediction(spec, step * 0.25) for step in range(1, 50)]
    keep(tmp_path, spec, made)
    (kept,) = read_scores(tmp_path)
    assert (kept.camera, kept.model, kept.labels) == ("door", spec.model, spec.labels)
    assert kept.background == spec.background
    back = list(kept.predictions())
    assert len(back) == len(made)
    for (one, began), other in zip(back, made, strict=True):
        assert np.array_equal(one.probabilities, other.probabilities)
        assert one.end_s == other.end_s
        assert one.start_s == pytest.approx(other.start_s)
        assert abs(began - NOON) < timedelta(milliseconds=1)


def test_of_many_labels_the_ten_likeliest_are_kept(tmp_path: Path, large: ClipSpec) -> None:
    made = [prediction(large, step * 0.25) for step in range(1, 9)]
    keep(tmp_path, large, made)
    (kept,) = read_scores(tmp_path)
    for (one, _), other in zip(kept.predictions(), made, strict=True):
        assert np.count_nonzero(one.probabilities) == 10
        assert np.array_equal(one.probabilities, other.probabilities)


def test_a_day_of_a_small_model_takes_little_room(tmp_path: Path, spec: ClipSpec) -> None:
    keep(tmp_path, spec, [prediction(spec, step * 0.25) for step in range(1, 1001)])
    (file,) = (tmp_path / "scores").rglob("*.scores")
    assert file.stat().st_size < 1000 * 32 + 500  # 4 a second: 11 MB a day


def test_streams_and_runs_are_kept_apart(tmp_path: Path, spec: ClipSpec) -> None:
    keep(tmp_path, spec, [prediction(spec, 1.0), prediction(spec, 1.0, camera="yard/gate")])
    keep(tmp_path, spec, [prediction(spec, 2.0)], run="b" * 32)
    found = {(kept.run[0], kept.camera) for kept in read_scores(tmp_path)}
    assert found == {("a", "door"), ("a", "yard/gate"), ("b", "door")}


def test_a_new_file_begins_each_hour(tmp_path: Path, spec: ClipSpec) -> None:
    keep(tmp_path, spec, [prediction(spec, step * 600.0) for step in range(1, 20)])
    assert len(list((tmp_path / "scores").rglob("*.scores"))) == 3
    (kept,) = read_scores(tmp_path)
    assert [one.end_s for one, _ in kept.predictions()] == [step * 600.0 for step in range(1, 20)]


def test_a_torn_record_is_left_out(tmp_path: Path, spec: ClipSpec) -> None:
    keep(tmp_path, spec, [prediction(spec, step * 0.25) for step in range(1, 11)])
    (file,) = (tmp_path / "scores").rglob("*.scores")
    file.write_bytes(file.read_bytes()[:-7])
    (kept,) = read_scores(tmp_path)
    assert len(list(kept.predictions())) == 9


def test_a_damaged_file_is_left_out(tmp_path: Path, spec: ClipSpec) -> None:
    keep(tmp_path, spec, [prediction(spec, 1.0)])
    (file,) = (tmp_path / "scores").rglob("*.scores")
    file.write_bytes(b"\x00\xff\n" + file.read_bytes())
    assert read_scores(tmp_path) == []


def test_nothing_is_kept_where_that_is_not_allowed(tmp_path: Path, spec: ClipSpec) -> None:
    metrics = Metrics()
    log = ScoreLog(tmp_path, "a" * 32, spec, metrics, gap_s=5.0, allowed=lambda: False)
    log.put(prediction(spec, 1.0), NOON)
    log.close_all()
    assert read_scores(tmp_path) == []
    assert metrics.total("unkept_scores") == 1
