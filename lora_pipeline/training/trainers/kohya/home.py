"""What sd-scripts is, where it comes from and what it needs."""

from __future__ import annotations

from pathlib import Path

from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.training.trainers.checkout import CheckoutProgram
from lora_pipeline.workspace.git import repository as git

MODULES = (
    "torch", "torchvision", "accelerate", "transformers", "diffusers", "safetensors", "toml",
    "voluptuous", "einops", "imagesize", "cv2", "huggingface_hub",
)  # fmt: skip


def scripts_folder(home: Path) -> Path | None:
    """Return the sd-scripts checkout at ``home``.

    ``home`` is the checkout, or that of kohya_ss, whose submodule ``sd-scripts`` it is.
    """
    for folder in (home, home / "sd-scripts"):
        if (folder / "train_network.py").is_file() and (folder / "library").is_dir():
            return folder
    return None


def checkout_version(scripts: Path) -> str:
    """Return the commit of a checkout as ``git:<12 digits>``, or ``unknown``."""
    try:
        root = git.repository_root(scripts)
        # A folder inside somebody else's repository has that repository's commit, not its own.
        if root is None or root.resolve() != scripts.resolve():
            return "unknown"
        commit = git.head(scripts)
    except PipelineError:
        return "unknown"
    return f"git:{commit[:12]}" if commit else "unknown"


SD_SCRIPTS = CheckoutProgram(
    trainer="kohya_ss",
    name="sd-scripts",
    repository="https://github.com/kohya-ss/sd-scripts",
    modules=MODULES,
    # torch comes first: the requirements leave its choice to the machine.
    steps=(("torch", "torchvision"), ("--requirement", "requirements.txt")),
    pythons=((3, 10), (3, 12)),
    signs="train_network.py and library/",
    locate=scripts_folder,
    version=checkout_version,
    marked_as="scripts",
)
