"""The catalog's words as captions say them: prompt tokens, and which checkpoint has its own."""

from __future__ import annotations

from lora_pipeline.catalog.catalogs import read_vocabulary
from lora_pipeline.catalog.vocabulary import Vocabulary
from lora_pipeline.datasets.captions.wording import Tokens
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace


class Words:
    """The prompt tokens in force for a project and a checkpoint, each catalog read once."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._known: dict[tuple[str, str], Tokens] = {}

    def tokens(self, project_id: str, checkpoint_id: str) -> Tokens:
        """Return the tokens: the checkpoint's, else the project's, else the shared ones.

        Raises:
            RecordError: When a catalog is not valid.
        """
        key = (project_id, checkpoint_id)
        if key not in self._known:
            base = read_vocabulary(self._workspace, Scope(project_id))
            own = read_vocabulary(self._workspace, Scope(project_id), checkpoint_id)
            self._known[key] = merge_tokens(base, own, checkpoint_id)
        return self._known[key]


def merge_tokens(base: Vocabulary, own: Vocabulary, checkpoint_id: str) -> Tokens:
    """Return the tokens of a project with those of a checkpoint over them, word by word.

    A checkpoint's word without tokens changes the word, and leaves its tokens as they are.
    """
    before, after = _tokens_of(base), _tokens_of(own)
    styles, scenarios, tags = ({**old, **new} for old, new in zip(before, after, strict=True))
    overridden = {
        f"{kind} {word}"
        for kind, old, new in zip(("style", "scenario", "tag"), before, after, strict=True)
        for word, tokens in new.items()
        if old.get(word) != tokens
    }
    return Tokens(
        styles=styles,
        scenarios=scenarios,
        tags={tag: token for tag, (token,) in tags.items()},
        checkpoint_id=checkpoint_id,
        overridden=frozenset(overridden),
    )


def _tokens_of(words: Vocabulary) -> tuple[dict[str, tuple[str, ...]], ...]:
    return (
        {one.id: one.prompt_tokens for one in words.styles.values() if one.prompt_tokens},
        {one.id: one.prompt_tokens for one in words.scenarios.values() if one.prompt_tokens},
        {one.id: (one.prompt_token,) for one in words.tags.values() if one.prompt_token},
    )
