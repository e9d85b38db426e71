"""Options of several commands of ``lora dataset``."""

from __future__ import annotations

from lora_pipeline.cli import options

scope_option = options.scope_option("baseline: a manifest that all projects share.")
