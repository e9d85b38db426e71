"""What ai-toolkit is, where it comes from and what it needs."""

from __future__ import annotations

import re
from pathlib import Path

from lora_pipeline.training.trainers.checkout import CheckoutProgram

# What run.py imports before it looks at its job.
MODULES = (
    "torch", "torchaudio", "torchvision", "accelerate", "transformers", "diffusers", "peft",
    "safetensors", "huggingface_hub", "oyaml", "dotenv", "einops", "cv2", "albumentations",
    "lycoris", "optimum",
)  # fmt: skip
_VERSION = re.compile(r"""^VERSION\s*=\s*["']([\w.+-]{1,40})["']""", re.MULTILINE)


def checkout_folder(folder: Path) -> Path | None:
    """Return the folder when it is a checkout of ai-toolkit."""
    signs = (folder / "run.py", folder / "toolkit" / "config_modules.py")
    return folder if all(sign.is_file() for sign in signs) else None


def checkout_version(folder: Path) -> str:
    """Return the version that a checkout says of itself, or ``unknown``."""
    try:
        found = _VERSION.search((folder / "version.py").read_text(encoding="utf-8")[:4000])
    except (OSError, ValueError):
        return "unknown"
    return found.group(1) if found else "unknown"


CHECKOUT = CheckoutProgram(
    trainer="ai_toolkit",
    name="ai-toolkit",
    repository="https://github.com/ostris/ai-toolkit",
    modules=MODULES,
    # The three must be of one build; ai-toolkit imports all of them before it looks at its job.
    steps=(
        ("torch==2.13.0", "torchvision==0.28.0", "torchaudio==2.11.0"),
        ("--requirement", "requirements.txt"),
    ),
    pythons=((3, 10), None),
    signs="run.py and toolkit/",
    locate=checkout_folder,
    version=checkout_version,
)
