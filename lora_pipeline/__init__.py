"""lora-pipeline: from approved art to a LoRA release that passed its gate."""

__version__ = "0.1.0"
