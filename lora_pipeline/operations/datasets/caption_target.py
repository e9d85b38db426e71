"""Which model will read the captions, with which encoders, and whether they can count here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from lora_pipeline.catalog.records import Checkpoint
from lora_pipeline.catalog.weight_files import weights_path
from lora_pipeline.datasets.captions.tokenizers import Places, read_captions
from lora_pipeline.datasets.captions.tokens import ENCODERS, UNKNOWN, Encoder, Reading
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.foundation.errors import ArgumentInvalidError, PipelineError
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace

_LARGEST = 100_000


class Target(msgspec.Struct, frozen=True):
    """What captions are made for.

    Attributes:
        checkpoint_id: The checkpoint, or empty when nobody named one.
        architecture: Its architecture, or empty.
        encoders: The text encoders that read captions.
        places: Where their tokenizers may stand.
        reads: Tokens that a trainer reads which was told so, or None.
    """

    checkpoint_id: str = ""
    architecture: str = ""
    encoders: tuple[Encoder, ...] = UNKNOWN
    places: Places = msgspec.field(default_factory=Places)
    reads: int | None = None

    @property
    def known(self) -> bool:
        """Whether it is known which encoders read the captions."""
        return self.architecture in ENCODERS

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Return what the encoders make of captions, counted where that can be done here."""
        return read_captions(texts, self.encoders, self.places, reads=self.reads)


def target_of(
    workspace: Workspace, scope: Scope, checkpoint_id: str, *, reads: int | None = None
) -> Target:
    """Return what captions for a checkpoint are made for; without one, for no known model.

    Raises:
        RecordNotFoundError: When there is no such checkpoint.
        ArgumentInvalidError: When ``reads`` is no number of tokens.
    """
    if reads is not None and not 1 <= reads <= _LARGEST:
        raise ArgumentInvalidError(f"max tokens must be 1 to {_LARGEST}, got {reads}")
    cache = workspace.settings.text("trainers.kohya_ss.tokenizerCache")
    cached = workspace.root / Path(cache).expanduser() if cache else None
    if not checkpoint_id:
        return Target(places=Places(cache=cached), reads=reads)
    record = workspace.records.find(Checkpoint, workspace.visible(scope), checkpoint_id).record
    return Target(
        checkpoint_id=record.id,
        architecture=record.architecture,
        encoders=ENCODERS.get(record.architecture, UNKNOWN),
        places=Places(_folder(workspace, record), record.id, cached),
        reads=reads,
    )


def checkpoint_of(manifest: Manifest) -> str:
    """Return the checkpoint that a manifest's captions are made for, or empty."""
    of_selection = manifest.selection.checkpoints
    return manifest.caption_rule.checkpoint_id or (
        of_selection[0] if len(of_selection) == 1 else ""
    )


def _folder(workspace: Workspace, record: Checkpoint) -> Path | None:
    if record.weights is None:
        return None
    try:
        path = weights_path(workspace, record.weights, name=record.id, check_digest=False)
    except PipelineError:
        return None  # it is not on this machine; then tokens are estimated, and that is told
    return path if path.is_dir() else None
