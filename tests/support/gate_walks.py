"""More ways round the gate: through Git, through policies, with clocks, waivers and emergencies."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from lora_pipeline.evaluation.blind.comparison import sealed_plan, sealed_review
from lora_pipeline.evaluation.blind.records import BlindPlan, BlindReview
from lora_pipeline.evaluation.records import Evaluation, Review
from lora_pipeline.evaluation.reviews import sealed
from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.record import Record
from lora_pipeline.operations.releases.emergency import break_glass
from lora_pipeline.releases.gate.waivers import sealed as sealed_waiver
from lora_pipeline.releases.history import extended
from lora_pipeline.releases.records import HistoryEntry, Lora, Waiver
from tests.support import attacks
from tests.support.release_builders import ANA, KIM, LORA, SCOPE, Studio
from tests.support.workspace_builders import Answer, commit_all, git, invoke

REASON = "r1 draws the old logo"


def promote(studio: Studio, release: str = "r2", *options: str, actor: str = ANA) -> Answer:
    """Promote by the command line."""
    return invoke(["promote", LORA, release, "--json", "--as", actor, *options], studio.root)


def validate(studio: Studio, *options: str) -> Answer:
    """Validate by the command line."""
    return invoke(["validate", "--json", *options], studio.root)


def errors(answer: Answer) -> str:
    """Return the errors that validate found, one on a line."""
    found = answer.document["data"]["findings"]
    return "\n".join(f"{one['code']}: {one['message']}" for one in found
                     if one["severity"] == "error")  # fmt: skip


def refusing(answer: Answer) -> dict[str, str]:
    """Return what refused a promotion: condition and reason."""
    conditions = answer.document["data"]["conditions"]
    return {one["id"]: one["reason"] for one in conditions if one["status"] in
            ("fail", "not_proven")}  # fmt: skip


def rewrite(path: Path, record: Record, *lines: str) -> None:
    """Write a record by hand, in its proper form."""
    path.write_bytes(strict_json.dumps(record.to_dict(), one_line_each=lines))


def relaxed(studio: Studio) -> None:
    """Ask for as good as no effect."""
    attacks.write_policy(studio, minEffect=0.0001)


def squash_since(studio: Studio, commit: str, message: str) -> None:
    """Make one commit of everything since a commit."""
    git(studio.root, "reset", "--soft", commit)
    commit_all(studio.root, message)


def head(studio: Studio) -> str:
    """Return the commit that is checked out."""
    return git(studio.root, "rev-parse", "HEAD").strip()


def promoted_in_pieces(studio: Studio) -> str:
    """Relax the policy in one commit, promote in the next; return the commit before both."""
    before = head(studio)
    relaxed(studio)
    commit_all(studio.root, "A policy of our own")
    assert promote(studio, "r2", "--commit").exit_code == 0
    return before


def grown_history(studio: Studio, *entries: HistoryEntry, **values: Any) -> None:
    """Add entries to the history with a proper chain."""

    def change(lora: Lora) -> Lora:
        history = lora.history
        for entry in entries:
            history = extended(history, entry)
        return replace(lora, history=history, **values)

    attacks.rewrite_lora(studio, change)


def emergency(studio: Studio, release: str = "r2") -> None:
    """Break the glass at noon of a day that is long gone."""
    done = break_glass(studio.as_(ANA), LORA, release, reason=REASON)
    assert done.success, done.refusal


def only(studio: Studio, kind: str) -> Path:
    """Return the newest file of a kind."""
    return max(studio.path(kind, "x").parent.glob("*.json"))


def waived(studio: Studio, **values: Any) -> Path:
    """Write a sealed waiver of the missing metric for r2 by hand."""
    lora = studio.lora().record
    release = lora.release("r2")
    assert release is not None
    assert release.weights is not None
    grid = r2_grid(studio)
    review = next(
        one.record for one in studio.workspace.records.all(Review, SCOPE)
        if one.record.release_id == "r2"
    )  # fmt: skip
    waiver = Waiver(
        id="01JNAB0000000000000000000W", lora_id=LORA, release_id="r2",
        condition="metric:clipT", reason="no encoder here", waived_by=KIM,
        created_at="2026-03-01T12:00:00Z", until="2036-01-01T00:00:00Z",
        binding=review.binding, digest="",
    )  # fmt: skip
    assert grid.result_digest == review.binding.result_digest
    waiver = sealed_waiver(replace(waiver, **values))
    path = studio.path("waiver", waiver.id)
    path.parent.mkdir(exist_ok=True)
    rewrite(path, waiver)
    return path


def r2_grid(studio: Studio) -> Evaluation:
    """Return the grid of r2."""
    return next(
        one.record for one in studio.workspace.records.all(Evaluation, SCOPE)
        if one.record.release_id == "r2"
    )  # fmt: skip


def exchange_sides(studio: Studio) -> None:
    """Turn every answer of a blind review round by exchanging the sides, and seal it again."""
    path = only(studio, "blind-review")
    review = BlindReview.from_dict(json.loads(path.read_text()))
    other = {"candidate": "opponent", "opponent": "candidate"}
    pairs = tuple(replace(one, left=other[one.left]) for one in review.pairs)
    rewrite(path, sealed_review(replace(review, pairs=pairs)), "pairs", "answers")


def edit_answers(studio: Studio) -> None:
    """Turn every answer of a blind review round, and seal it again."""
    path = only(studio, "blind-review")
    review = BlindReview.from_dict(json.loads(path.read_text()))
    other = {"left": "right", "right": "left", "tie": "tie"}
    answers = tuple(
        replace(one, said={key: other[value] for key, value in one.said.items()})
        for one in review.answers
    )
    rewrite(path, sealed_review(replace(review, answers=answers)), "pairs", "answers")


def edit_plan(studio: Studio) -> None:
    """Make a page that was answered one of fewer pairs, and seal its plan again."""
    path = only(studio, "blind-plan")
    plan = BlindPlan.from_dict(json.loads(path.read_text()))
    rewrite(path, sealed_plan(replace(plan, pairs=1)))


def reseal_review(path: Path, **values: Any) -> str:
    """Change a review, seal it again, and return its new digest."""
    review = sealed(replace(Review.from_dict(json.loads(path.read_text())), **values))
    rewrite(path, review)
    return review.digest


def sign_with_ssh(studio: Studio, folder: Path, *people: str) -> dict[str, Path]:
    """Make an SSH key for everybody, and have the repository trust them."""
    folder.mkdir()
    keys = {}
    for person in people:
        key = folder / person.partition("@")[0]
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", person, "-f", str(key)],
            check=True,
        )
        keys[person] = key
    signers = folder / "allowed_signers"
    signers.write_text(
        "".join(f"{who} {key.with_suffix('.pub').read_text()}" for who, key in keys.items())
    )
    git(studio.root, "config", "gpg.format", "ssh")
    git(studio.root, "config", "gpg.ssh.allowedSignersFile", str(signers))
    return keys


def commit_as(studio: Studio, who: str, path: Path, *, key: Path | None = None) -> None:
    """Commit one file as somebody, signed when a key is given."""
    git(studio.root, "config", "user.email", who)
    signed = ["-c", f"user.signingKey={key}"] if key else []
    git(studio.root, "add", str(path))
    option = "-S" if key else "--no-gpg-sign"
    git(studio.root, *signed, "commit", "--quiet", option, "-m", f"Review of {who}")
