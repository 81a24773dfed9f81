from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import jinja2
import numpy as np
import pytest

from model.data.examples import Example
from model.evaluation.metrics import ClassificationReport
from model.model_folder import EMBEDDED
from model.pretraining.config import PretrainConfig
from model.pretraining.train import motion_spec
from model.render import render
from model.trained_model import TrainedModel
from model.training.fit import EpochMetrics
from model.training.train import TrainResult
from model.training.train_config import TrainConfig
from stream.synthetic.motions import MOTIONS

TEMPLATES = EMBEDDED.parent / "templates"


def motion_card(config: PretrainConfig, clip_targets: list[int]) -> str:
    truth = np.arange(len(MOTIONS))
    scores = np.eye(len(MOTIONS))[[1, *truth[1:]]]
    return render(
        "motion.md",
        name="mine",
        spec=motion_spec(config, "mine"),
        config=config,
        report=ClassificationReport(MOTIONS, truth, scores),
        clip_targets=clip_targets,
        seed=0,
    )


def test_card_of_a_motion_model_has_its_run_and_results() -> None:
    card = motion_card(PretrainConfig(clips=1200, seed=3, init="motion"), [1500, 1200])
    for text in (
        "\n# mine\n",
        "1,200 clips, seed 3:\n",
        "train-motion --out OUT --clips 1200 --seed 3 --init motion\n",
        "started from the weights of `motion`",
        "another number of clips: 1,500, then 1,200.\n",
        "| still | 0.0% |\n| move left | 100.0% |\n",
        "Most frequent errors: still classified as move left (1).\n",
        "evaluate mine synthetic:15 --seed 0\n",
    ):
        assert text in card
    plain = motion_card(PretrainConfig(clips=1200), [1200])
    assert "--init" not in plain
    assert "started from" not in plain
    assert "interrupted" not in plain


def test_embedded_model_has_the_card_of_the_template() -> None:
    fixed = [
        line
        for line in (TEMPLATES / "motion.md").read_text(encoding="utf-8").splitlines()
        if not any(mark in line for mark in ("{{", "{%"))
    ]
    card = (EMBEDDED / "motion" / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in fixed if line not in card] == []


def trained_card(trained: TrainedModel, config: TrainConfig, with_report: bool) -> str:
    labels = ("sit", "fall|down")
    examples = [Example(Path(f"{number}.mp4"), "sit") for number in range(3)]
    spec = replace(trained.spec, labels=labels, background=frozenset({"sit"}))
    report = ClassificationReport(labels, np.array([0, 0]), np.eye(2)) if with_report else None
    epoch = EpochMetrics(1, 0.5, math.nan, math.nan, math.nan, 2.0, 0.1)
    return render(
        "trained.md",
        result=TrainResult(replace(trained, spec=spec), [epoch], 1, report),
        config=config,
        init="motion",
        train=Counter(one.label for one in examples),
        val=Counter(one.label for one in examples[:2]),
    )


def test_card_of_a_trained_model_has_its_training_and_results(trained: TrainedModel) -> None:
    card = trained_card(trained, TrainConfig(unfreeze=1, seed=7), with_report=True)
    for text in (
        "trained the last 1 layers for 1 epoch on 3 clips, seed 7.",
        "Background labels: sit.\n",
        "| sit | 3 | 2 | 50% |\n| fall\\|down | 0 | 0 | |\n",
        "On the 2 validation clips.",
        "| top-1 | 50.0% (95 % interval 9% to 91%) |\n",
        "Most frequent confusions: sit classified as fall\\|down (1). ![curve](curve.png)",
    ):
        assert text in card
    plain = trained_card(trained, TrainConfig(), with_report=False)
    assert "trained all layers for 1 epoch" in plain
    assert "There were no validation clips." in plain


def test_missing_value_of_a_template_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="is undefined"):
        render("motion.md")
