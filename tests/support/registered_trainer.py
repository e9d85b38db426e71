"""The trainer ``fake``, known to the registry for one test."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import cast

import pytest

from lora_pipeline.training.trainers.interface import Trainer
from lora_pipeline.training.trainers.registry import TRAINERS
from tests.support.fake_trainer import FakeTrainer


def register(monkeypatch: pytest.MonkeyPatch, trainer: FakeTrainer) -> FakeTrainer:
    """Make a trainer known as ``fake`` until the test ends, and return it."""
    monkeypatch.setitem(cast(MutableMapping[str, Trainer], TRAINERS), "fake", trainer)
    return trainer
