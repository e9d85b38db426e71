"""Run ``lora`` with the trainer ``fake``: ``python -m … MODE DIES_AT FOLDER ARGS…``.

With ``DIES_AT`` above 0 the process is killed right before that change below ``FOLDER``.
"""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from typing import cast

from tests.support.die_at_write import Reaper
from tests.support.fake_trainer import FakeTrainer


def main() -> None:
    """Run the command line."""
    mode, dies_at, folder, *arguments = sys.argv[1:]
    sys.argv = ["lora", *arguments]
    from lora_pipeline.cli.main import main as lora
    from lora_pipeline.training.trainers.interface import Trainer
    from lora_pipeline.training.trainers.registry import TRAINERS

    cast(MutableMapping[str, Trainer], TRAINERS)["fake"] = FakeTrainer(mode)
    if int(dies_at):
        sys.addaudithook(Reaper(int(dies_at), folder))
    lora()


if __name__ == "__main__":
    main()
