"""What a person should know of the captions of a manifest that was just built."""

from __future__ import annotations

from lora_pipeline.datasets.captions.lint import RULES, by_code, severe_findings, subjects_of
from lora_pipeline.datasets.captions.tokens import Reading, estimate_tokens, token_findings
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.foundation.errors import RecordError
from lora_pipeline.operations.datasets.caption_target import checkpoint_of, target_of
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace

# Warnings that are told at once, beside all errors.
_TOLD = frozenset({"caption_too_long", "caption_syntax", "caption_invisible"})


def caption_warnings(
    workspace: Workspace, scope: Scope, manifest: Manifest, command: str
) -> list[str]:
    """Return the severe findings, one line for each rule.

    No tokenizer is opened for it: tokens are estimated, and ``command`` counts them.
    """
    subjects = subjects_of(manifest)
    found = severe_findings(subjects, trigger_word=manifest.caption_rule.trigger_word)
    try:
        target = target_of(workspace, scope, checkpoint_of(manifest))
    except RecordError:
        target = None  # lora validate names the checkpoint that is lost or broken
    if target and target.known:
        fewest = min(encoder.reads for encoder in target.encoders if encoder.leads)
        long = [one for one in subjects if _may_exceed(one.text or "", fewest)]
        counts = tuple(estimate_tokens(one.text or "") for one in long)
        found += token_findings(long, [Reading(encoder, counts) for encoder in target.encoders])
    told = []
    for code, group in by_code(found).items():
        if RULES[code].severity == "error" or code in _TOLD:
            many = f"{len(group)} captions, such as that of " if len(group) > 1 else "caption of "
            told.append(f"{many}{group[0].where}: {group[0].message} — {command}")
    return told


def _may_exceed(text: str, tokens: int) -> bool:
    # A token of English text and the blank after it are never less than two letters; other
    # scripts have tokens of one letter and less.
    return len(text) > tokens * 2 or not text.isascii()
