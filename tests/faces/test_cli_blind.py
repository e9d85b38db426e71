"""``lora eval review --blind``, ``--answers`` and ``lora eval blind``: from page to gate."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.evaluation.blind.records import BlindReview
from lora_pipeline.workspace.store import open_store
from tests.support import attacks
from tests.support.blind_builders import (
    answer_page,
    compared,
    make_page,
    order_of,
    preferring,
    read_page,
    saved_answers,
)
from tests.support.browser import CHROMIUM, browser
from tests.support.release_builders import (
    ANA,
    KIM,
    LORA,
    SCOPE,
    TRAINER,
    Studio,
    active_studio,
    add_grid,
    add_review,
    copy_of,
)
from tests.support.workspace_builders import Answer, commit_all, invoke, tree_digest


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """A studio with r1 active, an approved grid of r2, and a policy that wants blind pairs."""
    studio = active_studio(tmp_path_factory.mktemp("blind") / "studio")
    attacks.write_policy(studio, blind={"pairs": 4, "above": 0.2})
    add_review(studio, add_grid(studio, "r2", lift=70))
    commit_all(studio.root, "A grid of r2")
    return studio


@pytest.fixture
def studio(template: Studio, tmp_path: Path) -> Studio:
    return copy_of(template, tmp_path / "studio")


def promote(studio: Studio) -> Answer:
    return invoke(["promote", LORA, "r2", "--json", "--as", ANA], studio.root)


def preference(answer: Answer) -> dict[str, Any]:
    conditions = answer.document["data"]["conditions"]
    found: dict[str, Any] = next(one for one in conditions if one["id"] == "preference")
    return found


def test_a_page_needs_nothing_but_itself(studio: Studio) -> None:
    _, page = make_page(studio)
    text = page.read_text()

    assert re.findall(r"(?:src|href)=\"(?!data:image/)", text) == []
    assert "http://" not in text
    assert "https://" not in text
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src &#x27;none&#x27;; img-src data:; style-src")
    assert "unsafe" not in policy
    assert text.count("<script") == 1


def test_a_page_does_not_tell_which_side_is_which(studio: Studio) -> None:
    """Neither words nor bytes of the page are those of a side (EG-19)."""
    answer, page = make_page(studio)
    text, reader = page.read_text(), read_page(page)
    facts = answer.document["data"]
    order = order_of(studio, facts["id"])
    nonce = json.loads((studio.root / ".lora" / "blind" / f"{facts['id']}.json").read_text())

    told = {"candidate", "opponent", nonce["nonce"], facts["against"]["resultDigest"]}
    told |= {facts["binding"]["resultDigest"], facts["binding"]["weightsSha256"]}
    told |= {one for pair in order.values() for one in (pair.left_sha256, pair.right_sha256)}
    told |= {one[:12] for one in told if len(one) == 64}
    without_pictures = re.sub(r"data:image/[^\"]*", "", text)
    assert [one for one in told if one in without_pictures] == []

    store = open_store(studio.workspace)
    rendered = {store.path(one).read_bytes() for one in told if len(one) == 64 and store.has(one)}
    shown = [one for pictures in reader.pictures.values() for one in pictures]
    assert rendered
    assert not rendered & set(shown)
    assert all(b"tEXt" not in one and b"eXIf" not in one for one in shown)


def test_a_page_tells_the_same_when_the_sides_are_exchanged(studio: Studio) -> None:
    """Apart from pictures, ids and digests two pages of one comparison are the same bytes."""
    plain = []
    for _ in range(2):
        _, page = make_page(studio)
        reader = read_page(page)
        text = re.sub(r"data:image/[^\"]*", "", page.read_text())
        plain.append(re.sub(f"{reader.plan}|{reader.content}", "", text))
    prompts = [sorted(re.findall(r'class="prompt">([^<]*)<', one)) for one in plain]
    bare = [re.sub(r'class="prompt">[^<]*<', "", one) for one in plain]

    assert bare[0] == bare[1]
    assert set(prompts[0]) == set(prompts[1])


def test_what_was_measured_is_told_with_the_result_and_never_before(studio: Studio) -> None:
    asked, page = make_page(studio)
    text = re.sub(r"data:image/[^\"]*", "", page.read_text())
    waiting = invoke(["eval", "blind", LORA, "r2", "--json"], studio.root)

    answered = answer_page(studio, page, KIM).document["data"]
    told = invoke(["eval", "blind", LORA, "r2", "--json"], studio.root).document["data"]
    words = invoke(["eval", "blind", LORA, "r2"], studio.root).stdout

    assert "measured" not in json.dumps(asked.document["data"])
    assert [one for one in ("effect", "0.235", "0.275", "CLIP", "palette") if one in text] == []
    assert waiting.document["data"]["comparisons"] == []
    for facts in (answered, told["comparisons"][0]):
        effect = next(one for one in facts["measures"] if one["name"] == "effectMean")
        assert (effect["before"]["words"], effect["after"]["words"]) == ("0.235", "0.275")
    assert re.search(r"effect +0\.235 +0\.275", words)


def test_against_the_base_each_value_stands_beside_the_bases(studio: Studio) -> None:
    _, page = make_page(studio, "r2", "--against", "base")
    facts = answer_page(studio, page, KIM).document["data"]

    assert facts["measures"] == []
    assert "measured" in facts


def test_git_holds_the_commitment_and_not_the_order(studio: Studio) -> None:
    answer, _ = make_page(studio)
    plan = studio.path("blind-plan", answer.document["data"]["id"]).read_text()

    assert '"commitment"' in plan
    assert '"left"' not in plan
    assert answer.document["written"] == [
        f"data/projects/neon_city/blind-plans/{answer.document['data']['id']}.json"
    ]


def test_a_dry_run_makes_no_page(studio: Studio) -> None:
    before = tree_digest(studio.root)
    answer = invoke(
        ["eval", "review", LORA, "r2", "--blind", "--dry-run", "--json", "--as", ANA], studio.root
    )

    assert answer.exit_code == 0
    assert answer.document["data"]["pairs"] == 4
    assert tree_digest(studio.root) == before


def test_answers_are_recorded_with_the_order_that_was_committed_to(studio: Studio) -> None:
    _, page = make_page(studio)
    answer = answer_page(studio, page, KIM)
    [loaded] = studio.workspace.records.all(BlindReview, SCOPE)

    assert answer.exit_code == 0, answer.stdout
    assert answer.document["data"]["wins"] == 4
    assert loaded.record.reviewer == KIM
    assert loaded.record.against.release_id == "r1"
    findings = invoke(["validate", "--json"], studio.root).document["data"]["findings"]
    # Only what the new policy says of r1, which was promoted before it.
    assert {one["code"] for one in findings} == {"active_release_unproven", "policy_changed"}


def test_preference_is_asked_for_and_shown(studio: Studio) -> None:
    assert preference(promote(studio))["reason"] == (
        "nobody compared it blindly with r1; 0 of 1 people answered; 0 of 4 pairs were judged"
    )

    compared(studio, KIM)
    answer = promote(studio)
    found = preference(answer)

    assert answer.exit_code == 0, answer.stdout
    assert found["reason"].startswith(f"{KIM} preferred it to r1 in 4 of 4 pairs")
    assert found["measured"] > found["threshold"] == 0.2
    assert found["evidence"][0].startswith("blind review 01")
    entry = studio.lora().record.history[-1]
    assert entry.evidence is not None
    assert len(entry.evidence.blind_digests) == 1
    assert invoke(["validate"], studio.root).exit_code == 0


def test_a_candidate_that_is_not_preferred_is_refused(studio: Studio) -> None:
    compared(studio, KIM, side="opponent")

    assert "in 0 of 4 pairs" in preference(promote(studio))["reason"]
    assert promote(studio).exit_code == 1


def test_of_one_person_the_first_answers_count(studio: Studio) -> None:
    compared(studio, KIM, side="opponent")
    compared(studio, KIM.upper())

    assert "in 0 of 4 pairs" in preference(promote(studio))["reason"]


def test_who_trained_it_cannot_compare_it(studio: Studio) -> None:
    compared(studio, TRAINER)

    assert f"{TRAINER} trained r2 and cannot compare it" in preference(promote(studio))["reason"]


def test_who_guesses_does_not_count(studio: Studio) -> None:
    _, page = make_page(studio)

    def left(document: dict[str, Any]) -> None:
        for one in document["answers"]:
            one["said"]["better"] = "left"

    assert answer_page(studio, page, KIM, change=left).exit_code == 0
    assert "met 0 of 2 checks of attention" in preference(promote(studio))["reason"]


def test_a_page_is_answered_once(studio: Studio) -> None:
    _, page = make_page(studio)
    answer_page(studio, page, KIM)
    again = answer_page(studio, page, "ana@studio.example")

    assert again.exit_code == 3
    assert f"answered by {KIM} already" in again.error["message"]


def test_pages_that_nobody_answered_are_told(studio: Studio) -> None:
    make_page(studio)
    compared(studio, KIM)

    assert "1 page was made and never answered" in preference(promote(studio))["reason"]


def exchanged_pictures(document: dict[str, Any]) -> None:
    document["shown"]["p001"].reverse()


def another_page(document: dict[str, Any]) -> None:
    document["contentDigest"] = "sha256:" + "0" * 64


def a_pair_left_out(document: dict[str, Any]) -> None:
    document["answers"].pop()


def not_looked_at(document: dict[str, Any]) -> None:
    document["answers"][0]["seenMs"] = 0


def another_plan(document: dict[str, Any]) -> None:
    document["planId"] = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def a_verdict_inside(document: dict[str, Any]) -> None:
    document["verdict"] = "approved"


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (exchanged_pictures, "argument_invalid", "did not have the pictures of the page"),
        (another_page, "argument_invalid", "other pictures than those of the page"),
        (a_pair_left_out, "argument_invalid", "5 of 6 pairs were answered"),
        (not_looked_at, "argument_invalid", "without being looked at"),
        (another_plan, "record_not_found", "01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        (a_verdict_inside, "record_invalid", "answers.json"),
    ],
)
def test_answers_that_are_not_to_the_page_are_refused_and_write_nothing(
    studio: Studio, change: Callable[[dict[str, Any]], None], code: str, words: str
) -> None:
    _, page = make_page(studio)
    before = tree_digest(studio.root / "data")
    answer = answer_page(studio, page, KIM, change=change)

    assert answer.exit_code == 3
    assert answer.error["code"] == code
    assert words in answer.error["message"]
    assert tree_digest(studio.root / "data") == before


def test_answers_about_a_release_that_changed_since_are_refused(studio: Studio) -> None:
    _, page = make_page(studio)
    attacks.rewrite_lora(studio, attacks.with_other_manifest("r2"))
    answer = answer_page(studio, page, KIM)

    assert answer.exit_code == 3
    assert "is not what it was when the page was made" in answer.error["message"]


def test_answers_need_the_machine_that_made_the_page(studio: Studio) -> None:
    answer, page = make_page(studio)
    document = saved_answers(page, preferring(studio, answer.document["data"]["id"]))
    (studio.root / ".lora" / "blind" / f"{answer.document['data']['id']}.json").unlink()
    file = studio.root / ".lora" / "answers.json"
    file.write_text(json.dumps(document))
    done = invoke(
        ["eval", "review", LORA, "r2", "--answers", str(file), "--json", "--as", KIM], studio.root
    )

    assert done.exit_code == 3
    assert done.error["code"] == "file_missing"
    assert done.error["hint"] == "record the answers on the machine that made the page"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--blind", "--answers", "x.json"], "one of them"),
        (["--blind", "--verdict", "approved"], "no verdict"),
        (["--pairs", "4"], "--pairs is for --blind"),
    ],
)
def test_options_that_do_not_go_together_are_a_mistake_of_use(
    studio: Studio, options: list[str], words: str
) -> None:
    answer = invoke(["eval", "review", LORA, "r2", *options], studio.root)

    assert answer.exit_code == 2
    assert words in answer.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--against", "r2"], "r2 cannot be compared with itself"),
        (["--against", "r9"], "no release 'r9' of icons"),
        (["--strength", "3"], "nothing was rendered at strength 3"),
        (["--pairs", "0"], "a page needs at least 1 pair"),
        (["--output", "page.pdf"], "must end with .html"),
    ],
)
def test_a_page_that_cannot_be_made_says_why(
    studio: Studio, options: list[str], words: str
) -> None:
    answer = invoke(["eval", "review", LORA, "r2", "--blind", "--json", *options], studio.root)

    assert answer.exit_code == 3
    assert words in answer.error["message"]


def test_the_base_is_compared_with_when_asked(studio: Studio) -> None:
    answer, _ = make_page(studio, "r2", "--against", "base", "--pairs", "2")

    assert answer.document["data"]["against"]["kind"] == "base"
    assert answer.document["data"]["pairs"] == 2


def test_numbers_come_with_what_they_are_worth(studio: Studio) -> None:
    compared(studio, KIM)
    compared(studio, ANA, side="opponent")
    answer = invoke(["eval", "blind", LORA, "r2"], studio.root)

    assert "icons r2 · blind comparisons" in answer.stdout
    assert f"{KIM}, 4 pairs, 2 of 2 checks met" in answer.stdout
    assert "Every pair is a tie" in answer.stdout
    assert "2 people answered and disagree" in answer.stdout


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium (LORA_TEST_CHROMIUM)")
def test_a_person_answers_it_in_a_browser_with_the_keyboard(studio: Studio, tmp_path: Path) -> None:
    made, page = make_page(studio)
    order = order_of(studio, made.document["data"]["id"])
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    with browser(tmp_path / "profile") as chromium:
        chromium.open(page, downloads)
        chromium.run("document.getElementById('begin').click()")
        for pair in order:
            assert chromium.run("document.querySelector('.pair-page:not([hidden])').id") == pair
            chromium.press("f")
            chromium.press("f")
            for _ in range(3):
                chromium.press(
                    {"left": "1", "tie": "0", "right": "2"}[
                        preferring(studio, made.document["data"]["id"])(pair)
                    ]
                )
        assert "All 6 pairs are answered" in chromium.run(
            "document.getElementById('end').innerText"
        )
        assert chromium.run("document.getElementById('save').disabled") is False
        chromium.run("document.getElementById('save').click()")
        while chromium.run("document.getElementById('saved').hidden"):
            pass
        text = chromium.run("document.getElementById('answers').value")
        while chromium.until("Browser.downloadProgress")["state"] == "inProgress":
            pass
        kept = chromium.run(f"localStorage.getItem('lora-blind-{made.document['data']['id']}')")
    [file] = downloads.glob("blind-*.json")
    done = invoke(
        ["eval", "review", LORA, "r2", "--answers", str(file), "--json", "--as", KIM], studio.root
    )

    assert file.read_text() == text
    assert json.loads(kept)["said"]["p001-better"] in ("left", "right", "tie")
    assert done.exit_code == 0, done.stdout
    assert (done.document["data"]["wins"], done.document["data"]["losses"]) == (4, 0)
    assert hashlib.sha256(read_page(page).pictures["p001"][0]).hexdigest() in text


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium (LORA_TEST_CHROMIUM)")
def test_keys_answer_the_question_that_somebody_has_tabbed_to(
    studio: Studio, tmp_path: Path
) -> None:
    _, page = make_page(studio)
    with browser(tmp_path / "profile") as chromium:
        chromium.open(page, tmp_path)
        chromium.run("document.getElementById('begin').click()")
        chromium.run("document.querySelector('input[name=p001-prompt]').focus()")
        chromium.press("2")
        said = chromium.run(
            "[...document.querySelectorAll('#p001 input:checked')].map((one) => one.name).join()"
        )
        back = chromium.run("document.querySelector('#p001 .back').disabled")

    assert said == "p001-prompt"
    assert back is True
