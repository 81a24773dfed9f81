from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from model.checkpoint import CheckpointError
from model.engines.base import EngineError
from model.engines.linear import Int8Linear
from model.engines.torch_engine import buckets
from model.predictor import Predictor
from model.preprocess import normalise
from model.pretraining.dataset import held_out
from model.trained_model import TrainedModel, load
from stream.config.config import InferenceConfig


class SmallRoom:
    """An engine with room for few clips, which notes how many came at once."""

    name = "small"

    def __init__(self, room: int, sizes: tuple[int, ...] = (), *, batches: bool = True) -> None:
        self.room, self.sizes, self.seen = room, sizes, list[int]()
        self.batches = batches

    def logits(self, clips: np.ndarray) -> np.ndarray:
        if len(clips) > self.room:
            raise MemoryError("no room")
        self.seen.append(len(clips))
        first = clips.reshape(len(clips), -1)[:, :1].astype(np.float32)
        return np.concatenate([first, 255 - first], axis=1)


def clips(count: int) -> np.ndarray:
    """Clips that can be told apart by their first pixel."""
    made = np.zeros((count, 4, 32, 32, 3), np.uint8)
    made[:, 0, 0, 0, 0] = np.arange(count)
    return made


def expected(model: TrainedModel, seen: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        pixels = normalise(torch.from_numpy(seen), model.mean, model.std)
        return model.network.logits(pixels).softmax(dim=1).numpy()


@pytest.mark.parametrize("count", [1, 3, 9])
def test_any_number_of_clips_is_scored_in_order(trained: TrainedModel, count: int) -> None:
    seen = np.random.default_rng(0).integers(0, 256, (count, 4, 32, 32, 3), dtype=np.uint8)
    predictor = Predictor(trained, InferenceConfig(precision="fp32"))
    found = predictor.predict(seen)
    assert np.allclose(found, expected(trained, seen), atol=1e-4)
    assert np.allclose(found.sum(axis=1), 1, atol=1e-5)
    assert predictor.name.startswith("torch fp32 on ")


def test_a_full_device_gets_fewer_clips_from_then_on(
    trained: TrainedModel, caplog: pytest.LogCaptureFixture
) -> None:
    engine = SmallRoom(3)
    predictor = Predictor(trained, InferenceConfig(batch=8), make=lambda *_: engine)
    engine.seen.clear()
    shares = predictor.predict(clips(10))
    assert engine.seen == [2, 2, 2, 2, 2]
    assert "no memory for 8 clips at once; from now on 4" in caplog.text
    assert "from now on 2" in caplog.text
    assert np.argsort(shares[:, 0]).tolist() == list(range(10))
    engine.seen.clear()
    predictor.predict(clips(4))
    assert engine.seen == [2, 2]


def test_clips_go_one_by_one_where_that_is_faster(trained: TrainedModel) -> None:
    engine = SmallRoom(8, batches=False)
    predictor = Predictor(trained, InferenceConfig(batch=8), make=lambda *_: engine)
    assert predictor.most == 1
    engine.seen.clear()
    assert len(predictor.predict(clips(3))) == 3
    assert engine.seen == [1, 1, 1]


def test_no_room_for_a_single_clip_is_told(trained: TrainedModel) -> None:
    with pytest.raises(CheckpointError, match="tiny can't run: no room"):
        Predictor(trained, make=lambda *_: SmallRoom(0))


def test_batches_are_filled_up_to_the_sizes_that_were_prepared(trained: TrainedModel) -> None:
    engine = SmallRoom(8, sizes=(1, 2, 4, 8))
    predictor = Predictor(trained, InferenceConfig(batch=8), make=lambda *_: engine)
    assert engine.seen == [1, 2, 4, 8]  # warmed up
    assert len(predictor.predict(clips(11))) == 11
    assert engine.seen[4:] == [8, 4]


def test_buckets_double_up_to_the_most() -> None:
    assert buckets(1) == (1,)
    assert buckets(8) == (1, 2, 4, 8)
    assert buckets(6) == (1, 2, 4, 6)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU has fp16")
def test_fp16_is_for_gpus(trained: TrainedModel) -> None:
    with pytest.raises(EngineError, match="precision fp16 is for GPUs; take auto"):
        Predictor(trained, InferenceConfig(precision="fp16"))


@pytest.mark.skipif(not Int8Linear.available(), reason="a processor without VNNI")
def test_int8_answers_as_fp32_does() -> None:
    model = load("motion")
    drawn = held_out(model, 60, seed=5)
    seen = np.stack([drawn[n][0].numpy() for n in range(60)])
    exact = Predictor(model, InferenceConfig(device="cpu", precision="fp32")).predict(seen)
    predictor = Predictor(model, InferenceConfig(device="cpu", precision="int8"))
    fast = predictor.predict(seen)
    assert (exact.argmax(axis=1) == fast.argmax(axis=1)).mean() >= 0.95
    assert np.array_equal(fast[:1], predictor.predict(seen[:1]))  # whatever came beside it


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler: install g++")
def test_compiling_gives_the_same_answers(
    trained: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    predictor = Predictor(trained, InferenceConfig(precision="fp32", compile="on", batch=2))
    assert predictor.name.endswith("compiled")
    seen = np.random.default_rng(0).integers(0, 256, (3, 4, 32, 32, 3), dtype=np.uint8)
    assert np.allclose(predictor.predict(seen), expected(trained, seen), atol=1e-4)


def test_without_a_compiler_it_goes_on_and_says_why(
    trained: TrainedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    with torch._inductor.config.patch({"cpp.cxx": (str(tmp_path / "no compiler"),)}):
        choice = InferenceConfig(device="cpu", precision="fp32", compile="on", batch=1)
        predictor = Predictor(trained, choice)
    torch._dynamo.reset()
    assert "torch.compile does not work here, going on without" in caplog.text
    assert not predictor.name.endswith("compiled")
    assert np.allclose(predictor.predict(clips(1)), expected(trained, clips(1)), atol=1e-4)


def test_openvino_answers_as_torch_does(trained: TrainedModel) -> None:
    pytest.importorskip("openvino", reason="the extra actionwatch[openvino] is not installed")
    predictor = Predictor(trained, InferenceConfig(engine="openvino", precision="fp32", batch=2))
    assert predictor.name == "openvino fp32 on cpu"
    seen = np.random.default_rng(0).integers(0, 256, (3, 4, 32, 32, 3), dtype=np.uint8)
    assert np.allclose(predictor.predict(seen), expected(trained, seen), atol=1e-4)
    with pytest.raises(EngineError, match="has no precision int8 here"):
        Predictor(trained, InferenceConfig(engine="openvino", precision="int8"))
