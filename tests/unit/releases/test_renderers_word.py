"""What a renderer could not prove is not proven for the gate either."""

from __future__ import annotations

from lora_pipeline.evaluation.records import RendererIdentity
from lora_pipeline.releases.gate.judge import decide
from tests.support.gate_builders import STANDARD, evidence, grid


def test_a_base_model_on_somebodys_word_does_not_pass() -> None:
    word = "which base model fal draws with: it cannot be seen from here"
    renderer = RendererIdentity(name="fal", version="unknown", fingerprint="f", unproven=(word,))
    decision = decide(evidence(evaluation=grid(renderer=renderer)), STANDARD)
    (condition,) = [one for one in decision.conditions if one.id == "grid"]
    assert condition.status == "not_proven"
    assert condition.reason.endswith(f"cells, but the renderer could not prove {word}")
    assert not decision.passed


def test_taking_the_words_out_by_hand_breaks_the_result_digest() -> None:
    said = RendererIdentity(name="fal", version="unknown", fingerprint="f", unproven=("x",))
    silent = RendererIdentity(name="fal", version="unknown", fingerprint="f")
    sealed = grid(renderer=said)
    edited = grid(renderer=silent, resealed=False, result_digest=sealed.result_digest)
    decision = decide(evidence(evaluation=edited), STANDARD)
    (condition,) = [one for one in decision.conditions if one.id == "result"]
    assert condition.status == "fail"
