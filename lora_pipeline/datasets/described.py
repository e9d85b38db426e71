"""An image with its caption, before its bytes were looked at: small, because there are many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from sys import intern

import msgspec

from lora_pipeline.datasets.captions.prompt_tokens import Words
from lora_pipeline.datasets.captions.wording import Tokens, caption_of, ingredients
from lora_pipeline.datasets.picks import Pick
from lora_pipeline.datasets.records import Item
from lora_pipeline.datasets.rules import DatasetRule
from lora_pipeline.foundation.errors import CaptionInvalidError
from lora_pipeline.workspace.root import Workspace


class Described(msgspec.Struct, frozen=True):
    """An image that the selection chose.

    Attributes:
        item: What the manifest will say of it; its digests and size are those of the record,
            or empty where the record has none.
        title: What it shows.
        rating: Rating of the variant.
        author: Who made it.
        source: Where it comes from.
        project_id: Project of its asset.
        spec_id: Spec of its asset.
        objection: Why it can have no caption, or None.
    """

    item: Item
    title: str
    rating: int
    author: str
    source: str
    project_id: str
    spec_id: str
    objection: CaptionInvalidError | None = None


class Describing:
    """Makes the captions of a rule, and keeps texts once that many images share.

    Args:
        workspace: The workspace, for the words of its catalogs.
        rule: The rule.
    """

    def __init__(self, workspace: Workspace, rule: DatasetRule) -> None:
        self._rule = rule.captions
        self._words = Words(workspace)
        self._tags: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._captions: dict[tuple[object, ...], str] = {}

    def each(self, picks: Iterable[Pick]) -> Iterator[Described]:
        """Yield every image with its caption.

        Raises:
            RecordError: When a catalog is not valid.
        """
        return map(self._describe, picks)

    def _describe(self, pick: Pick) -> Described:
        caption, objection = "", None
        try:
            caption = self._caption(pick)
        except CaptionInvalidError as error:
            objection = error
        identity, made = pick.identity, pick.asset.provenance
        item = Item(
            asset_id=pick.asset.id,
            asset_version_id=pick.version.id,
            variant_id=pick.variant.id,
            path=pick.path,
            caption=caption,
            tags=self._tags.setdefault(pick.tags, pick.tags),
            sha256=identity.sha256 if identity else "",
            xxh3=identity.xxh3 if identity else "",
            bytes=identity.bytes if identity else 0,
            width=identity.width if identity else 0,
            height=identity.height if identity else 0,
            license=intern(pick.license),
        )
        return Described(
            item, pick.spec.title, pick.variant.rating, intern(made.author), intern(made.source),
            intern(pick.asset.project_id), pick.spec.id, objection,
        )  # fmt: skip

    def _caption(self, pick: Pick) -> str:
        checkpoint = self._rule.checkpoint_id or pick.spec.checkpoint_id
        key = (pick.asset.project_id, checkpoint, ingredients(pick, self._rule))
        caption = self._captions.get(key)
        if caption is None:
            tokens = self._tokens(pick.asset.project_id, checkpoint)
            caption = self._captions[key] = caption_of(pick, self._rule, tokens).text
        return caption

    def _tokens(self, project_id: str, checkpoint_id: str) -> Tokens:
        if not self._rule.include_prompt_tokens:
            return Tokens()
        return self._words.tokens(project_id, checkpoint_id)
