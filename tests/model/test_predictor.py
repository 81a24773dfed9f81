from __future__ import annotations

import io
import logging
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from model.checkpoint import CheckpointError
from model.engines.base import ENGINES, EngineError, EngineType
from model.engines.linear import Int8Linear
from model.engines.torch_engine import buckets
from model.predictor import Predictor
from model.pretraining.dataset import held_out
from model.trained_model import TrainedModel, load, normalize
from stream.config.config import InferenceConfig

SMALL = InferenceConfig(engine="small", max_batch_size=8)


class Scored(NamedTuple):
    engine: str
    scores: np.ndarray
    log: str


class SmallEngine:
    """An engine with memory for few clips, which records its batch sizes."""

    name = "small"

    def __init__(
        self, capacity: int, batch_sizes: tuple[int, ...] = (), *, supports_batching: bool = True
    ) -> None:
        self.capacity, self.batch_sizes, self.batches = capacity, batch_sizes, list[int]()
        self.supports_batching = supports_batching

    def logits(self, clips: np.ndarray) -> np.ndarray:
        if len(clips) > self.capacity:
            raise MemoryError("out of memory")
        self.batches.append(len(clips))
        first = clips.reshape(len(clips), -1)[:, :1].astype(np.float32)
        return np.concatenate([first, 255 - first], axis=1)


@contextmanager
def registered(engine: SmallEngine) -> Iterator[SmallEngine]:
    """An engine from outside, added by registration alone."""
    ENGINES.add("small", EngineType(lambda _: ("cpu",), lambda *_: engine))
    try:
        yield engine
    finally:
        ENGINES.remove("small")


def clips(count: int) -> np.ndarray:
    """Clips whose first pixel is their index."""
    frames = np.zeros((count, 4, 32, 32, 3), np.uint8)
    frames[:, 0, 0, 0, 0] = np.arange(count)
    return frames


def expected(model: TrainedModel, clips: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        pixels = normalize(torch.from_numpy(clips), model.mean, model.std)
        return model.network.logits(pixels).softmax(dim=1).numpy()


@pytest.mark.parametrize("count", [1, 3, 9])
def test_any_number_of_clips_is_scored_in_order(trained: TrainedModel, count: int) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (count, 4, 32, 32, 3), dtype=np.uint8)
    predictor = Predictor(trained, InferenceConfig(precision="fp32"))
    scores = predictor.predict(batch)
    assert np.allclose(scores, expected(trained, batch), atol=1e-4)
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert predictor.name.startswith("torch fp32 on ")


def test_batch_size_is_reduced_when_the_device_runs_out_of_memory(
    trained: TrainedModel, caplog: pytest.LogCaptureFixture
) -> None:
    with registered(SmallEngine(3)) as engine:
        predictor = Predictor(trained, SMALL)
    engine.batches.clear()
    scores = predictor.predict(clips(10))
    assert engine.batches == [2, 2, 2, 2, 2]
    assert "out of memory with 8 clips; batch size reduced to 4" in caplog.text
    assert "reduced to 2" in caplog.text
    assert np.argsort(scores[:, 0]).tolist() == list(range(10))
    engine.batches.clear()
    predictor.predict(clips(4))
    assert engine.batches == [2, 2]


def test_clips_run_one_by_one_if_batching_is_slower(trained: TrainedModel) -> None:
    with registered(SmallEngine(8, supports_batching=False)) as engine:
        predictor = Predictor(trained, SMALL)
    assert predictor.max_batch_size == 1
    engine.batches.clear()
    assert len(predictor.predict(clips(3))) == 3
    assert engine.batches == [1, 1, 1]


def test_too_little_memory_for_one_clip_is_an_error(trained: TrainedModel) -> None:
    with (
        registered(SmallEngine(0)),
        pytest.raises(CheckpointError, match="tiny can't run: out of memory"),
    ):
        Predictor(trained, SMALL)


def test_batches_are_padded_to_the_prepared_sizes(trained: TrainedModel) -> None:
    with registered(SmallEngine(8, batch_sizes=(1, 2, 4, 8))) as engine:
        predictor = Predictor(trained, SMALL)
    assert engine.batches == [1, 2, 4, 8]  # warmed up
    assert len(predictor.predict(clips(11))) == 11
    assert engine.batches[4:] == [8, 4]


def test_engine_is_added_by_registration_alone(trained: TrainedModel) -> None:
    with pytest.raises(EngineError, match="engine small is not known; use openvino or torch"):
        Predictor(trained, SMALL)
    with registered(SmallEngine(8)):
        predictor = Predictor(trained, SMALL)
    assert predictor.name == "small"
    assert np.argsort(predictor.predict(clips(3))[:, 0]).tolist() == [0, 1, 2]


def test_buckets_double_up_to_the_maximum() -> None:
    assert buckets(1) == (1,)
    assert buckets(8) == (1, 2, 4, 8)
    assert buckets(6) == (1, 2, 4, 6)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU has fp16")
def test_fp16_is_for_gpus(trained: TrainedModel) -> None:
    with pytest.raises(EngineError, match="precision fp16 is for GPUs; use auto"):
        Predictor(trained, InferenceConfig(precision="fp16"))


@pytest.mark.skipif(not Int8Linear.available(), reason="a processor without VNNI")
def test_int8_predicts_the_same_labels_as_fp32() -> None:
    model = load("motion")
    dataset = held_out(model, 60, seed=5)
    batch = np.stack([dataset[n][0].numpy() for n in range(60)])
    fp32 = Predictor(model, InferenceConfig(device="cpu", precision="fp32")).predict(batch)
    predictor = Predictor(model, InferenceConfig(device="cpu", precision="int8"))
    int8 = predictor.predict(batch)
    assert (fp32.argmax(axis=1) == int8.argmax(axis=1)).mean() >= 0.95
    assert np.array_equal(int8[:1], predictor.predict(batch[:1]))  # independent of its batch


def _score(model: TrainedModel, config: InferenceConfig, batch: np.ndarray) -> Scored:
    log = io.StringIO()
    logging.getLogger().addHandler(logging.StreamHandler(log))
    predictor = Predictor(model, config)
    return Scored(predictor.name, predictor.predict(batch), log.getvalue())


def scored(model: TrainedModel, config: InferenceConfig, batch: np.ndarray) -> Scored:
    """In a process of its own: compilers and OpenVINO leave 200 MB behind."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_score, model, config, batch).result()


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler: install g++")
def test_torch_compile_gives_the_same_scores(
    trained: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    batch = np.random.default_rng(0).integers(0, 256, (3, 4, 32, 32, 3), dtype=np.uint8)
    config = InferenceConfig(precision="fp32", compile="on", max_batch_size=1)
    found = scored(trained, config, batch)
    assert found.engine.endswith("compiled")
    assert np.allclose(found.scores, expected(trained, batch), atol=1e-4)


def test_without_a_compiler_the_network_runs_uncompiled_with_a_warning(
    trained: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("CXX", str(tmp_path / "no compiler"))
    config = InferenceConfig(device="cpu", precision="fp32", compile="on", max_batch_size=1)
    found = scored(trained, config, clips(1))
    assert "torch.compile failed, running without it" in found.log
    assert not found.engine.endswith("compiled")
    assert np.allclose(found.scores, expected(trained, clips(1)), atol=1e-4)


def test_openvino_gives_the_same_scores_as_torch(trained: TrainedModel) -> None:
    pytest.importorskip("openvino", reason="the extra actionwatch[openvino] is not installed")
    batch = np.random.default_rng(0).integers(0, 256, (3, 4, 32, 32, 3), dtype=np.uint8)
    config = InferenceConfig(engine="openvino", precision="fp32", max_batch_size=2)
    found = scored(trained, config, batch)
    assert found.engine == "openvino fp32 on cpu"
    assert np.allclose(found.scores, expected(trained, batch), atol=1e-4)
    with pytest.raises(EngineError, match="has no precision int8 here"):
        Predictor(trained, InferenceConfig(engine="openvino", precision="int8"))
