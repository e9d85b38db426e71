"""Variables that keep a trainer from asking the network.

A base model, its tokenizers and its text encoders are on this machine or the run fails: what
was trained must not depend on what a hub happens to hold that day, and nothing of a studio's
work leaves the machine by accident.
"""

from __future__ import annotations

OFFLINE = {
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "WANDB_MODE": "disabled",
}
