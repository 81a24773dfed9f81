from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from stream.messages import ClipSpec, Prediction
from stream.runtime.metrics import Metrics
from stream.sinks.score_files import quantize, read_scores
from stream.sinks.score_log import ScoreLog
from tests.full_disk import max_file_size

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


def prediction(spec: ClipSpec, end_s: float, *, camera: str = "door", seed: int = 0) -> Prediction:
    probabilities = np.random.default_rng((seed, int(end_s * 1000))).random(len(spec.labels))
    return Prediction(
        camera=camera,
        labels=spec.labels,
        probabilities=quantize((probabilities / probabilities.sum()).astype(np.float32)),
        start_s=end_s - spec.span_s + spec.step_s,
        end_s=end_s,
        newest_at=0.0,
        inference_s=0.0,
    )


def store(
    folder: Path,
    spec: ClipSpec,
    predictions: list[Prediction],
    run: str = "a" * 32,
    start_utc: datetime = NOON,
) -> None:
    log = ScoreLog(folder, run, Metrics())
    log.on_model(spec, ())
    for one in predictions:
        log.on_prediction(one, start_utc + timedelta(seconds=one.end_s))
    log.join(0)


@pytest.fixture
def large(spec: ClipSpec) -> ClipSpec:
    return replace(spec, labels=tuple(f"label {number}" for number in range(400)))


def test_stored_scores_are_read_unchanged(tmp_path: Path, spec: ClipSpec) -> None:
    written = [prediction(spec, step * 0.25) for step in range(1, 50)]
    store(tmp_path, spec, written)
    (stored,) = read_scores(tmp_path)
    assert (stored.camera, stored.model, stored.labels) == ("door", spec.model, spec.labels)
    assert stored.background == spec.background
    read = list(stored.predictions())
    assert len(read) == len(written)
    for (one, start_utc), other in zip(read, written, strict=True):
        assert np.array_equal(one.probabilities, other.probabilities)
        assert one.end_s == other.end_s
        assert one.start_s == pytest.approx(other.start_s)
        assert abs(start_utc - NOON) < timedelta(milliseconds=1)


@pytest.mark.parametrize("year", [1904, 1970, 2090])
def test_scores_of_videos_without_a_valid_date_are_read(
    tmp_path: Path, spec: ClipSpec, year: int
) -> None:
    written = [prediction(spec, frame / 30) for frame in range(16, 300, 8)]
    store(tmp_path, spec, written, start_utc=datetime(year, 1, 1, tzinfo=timezone.utc))
    (stored,) = read_scores(tmp_path)
    assert [one.end_s for one, _ in stored.predictions()] == [one.end_s for one in written]


def test_only_the_top_ten_of_many_labels_are_stored(tmp_path: Path, large: ClipSpec) -> None:
    written = [prediction(large, step * 0.25) for step in range(1, 9)]
    store(tmp_path, large, written)
    (stored,) = read_scores(tmp_path)
    for (one, _), other in zip(stored.predictions(), written, strict=True):
        assert np.count_nonzero(one.probabilities) == 10
        assert np.array_equal(one.probabilities, other.probabilities)


def test_a_day_of_a_small_model_needs_little_space(tmp_path: Path, spec: ClipSpec) -> None:
    store(tmp_path, spec, [prediction(spec, step * 0.25) for step in range(1, 1001)])
    (file,) = (tmp_path / "scores").rglob("*.scores")
    assert file.stat().st_size < 1000 * 32 + 500  # 4 a second: 11 MB a day


def test_streams_and_runs_are_stored_separately(tmp_path: Path, spec: ClipSpec) -> None:
    store(tmp_path, spec, [prediction(spec, 1.0), prediction(spec, 1.0, camera="yard/gate")])
    store(tmp_path, spec, [prediction(spec, 2.0)], run="b" * 32)
    found = {(stored.run[0], stored.camera) for stored in read_scores(tmp_path)}
    assert found == {("a", "door"), ("a", "yard/gate"), ("b", "door")}


def test_a_new_file_is_started_each_hour(tmp_path: Path, spec: ClipSpec) -> None:
    store(tmp_path, spec, [prediction(spec, step * 600.0) for step in range(1, 20)])
    assert len(list((tmp_path / "scores").rglob("*.scores"))) == 3
    (stored,) = read_scores(tmp_path)
    assert [one.end_s for one, _ in stored.predictions()] == [step * 600.0 for step in range(1, 20)]


def test_incomplete_record_is_skipped(tmp_path: Path, spec: ClipSpec) -> None:
    store(tmp_path, spec, [prediction(spec, step * 0.25) for step in range(1, 11)])
    (file,) = (tmp_path / "scores").rglob("*.scores")
    file.write_bytes(file.read_bytes()[:-7])
    (stored,) = read_scores(tmp_path)
    assert len(list(stored.predictions())) == 9


def test_damaged_file_is_skipped(tmp_path: Path, spec: ClipSpec) -> None:
    store(tmp_path, spec, [prediction(spec, 1.0)])
    (file,) = (tmp_path / "scores").rglob("*.scores")
    file.write_bytes(b"\x00\xff\n" + file.read_bytes())
    assert read_scores(tmp_path) == []


@pytest.mark.parametrize("header_bytes", [0, 40])
def test_header_that_did_not_fit_on_the_disk_is_written_again(
    tmp_path: Path, spec: ClipSpec, header_bytes: int
) -> None:
    metrics = Metrics()
    log = ScoreLog(tmp_path, "a" * 32, metrics)
    log.on_model(spec, ())
    written = [prediction(spec, step * 0.5) for step in range(1, 13)]

    def put(predictions: list[Prediction]) -> None:
        for one in predictions:
            log.on_prediction(one, NOON + timedelta(seconds=one.end_s))

    with max_file_size(header_bytes):
        put(written[:4])
    put(written[4:])
    log.join(0)
    (stored,) = read_scores(tmp_path)
    lost = metrics.total("scores_not_stored")
    assert lost >= 3
    read = [one.end_s for one, _ in stored.predictions()]
    assert read == [one.end_s for one in written[lost:]]
    assert len(list((tmp_path / "scores").rglob("*.scores"))) == 1


def test_nothing_is_stored_while_not_allowed(tmp_path: Path, spec: ClipSpec) -> None:
    metrics = Metrics()
    log = ScoreLog(tmp_path, "a" * 32, metrics, allowed=lambda: False)
    log.on_model(spec, ())
    log.on_prediction(prediction(spec, 1.0), NOON)
    log.join(0)
    assert read_scores(tmp_path) == []
    assert metrics.total("scores_not_stored") == 1
