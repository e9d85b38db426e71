"""The bar that ai-toolkit prints, on this machine and at the services that run it."""

from __future__ import annotations

import re

from lora_pipeline.foundation.process_output import OutputLine
from lora_pipeline.training.trainers.interface import TrainingProgress

# The training's bar has a learning rate and a loss; bars of caches and downloads have not.
_BAR = re.compile(
    r":\s+\d+%\|[^|]*\|\s*(\d+)/(\d+)\s+\[[^\]]*?lr:\s*\S+\s+loss:\s*([\d.e+-]+|nan|inf)"
)


def read_bar(line: OutputLine) -> TrainingProgress | None:
    """Return the progress that a line tells, or None when it tells none."""
    bar = _BAR.search(line.text)
    if bar is None:
        return None
    return TrainingProgress(int(bar.group(1)), int(bar.group(2)), float(bar.group(3)))
