"""Which captions of a manifest a grid asks for, to see whether the LoRA repeats their images.

The choice follows from the manifest alone, so that whoever plans the grid anew gets the same
one: nobody can pick the captions that their LoRA did not learn by heart.
"""

from __future__ import annotations

from lora_pipeline.datasets.records import Manifest
from lora_pipeline.evaluation.records import Suite
from lora_pipeline.evaluation.suites import takes_caption


def captions_wanted(suite: Suite) -> int:
    """Return how many captions a suite asks for."""
    return sum(takes_caption(prompt) for prompt in suite.prompts)


def training_captions(suite: Suite, manifest: Manifest) -> tuple[str, ...]:
    """Return the captions that a suite's prompts get, as they were trained on.

    They are those of the training images in the order of the images' SHA-256; what is empty or
    came before is passed over. Held-out images were not trained on, so theirs are not asked.
    """
    trained = sorted(
        (item for item in manifest.items if item.split == "train"),
        key=lambda item: (item.sha256, item.caption),
    )
    distinct = dict.fromkeys(item.caption for item in trained if item.caption.strip())
    return tuple(distinct)[: captions_wanted(suite)]
