"""Merging branches with real Git: merge, rebase, cherry-pick, and what is said and done after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lora_pipeline.catalog.records import Asset, Tag, TagGroup, Tags
from lora_pipeline.datasets.manifest import hash_of_manifest
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.foundation import strict_json
from lora_pipeline.releases.history import extended
from lora_pipeline.releases.records import HistoryEntry, HistoryEvent
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace
from tests.support.dataset_builders import PROJECT
from tests.support.merge_builders import (
    FILE,
    add_icon,
    branch,
    build_and_commit,
    copied,
    lora,
    manifest_of,
    studio_with_drivers,
    try_git,
)
from tests.support.release_builders import add_checkpoint, add_lora
from tests.support.workspace_builders import commit_all, git, invoke, reopen

OTHER = "art"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return studio_with_drivers(tmp_path_factory.mktemp("merge") / "studio").root


@pytest.fixture
def here(origin: Path, tmp_path: Path) -> Workspace:
    return reopen(copied(origin, tmp_path / "studio"))


@pytest.fixture(scope="module")
def split(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A studio whose branches ``main`` and ``art`` both built the manifest again."""
    folder = copied(origin, tmp_path_factory.mktemp("split") / "studio")
    workspace = reopen(folder)
    branch(folder, OTHER)
    add_icon(workspace, 71)
    add_icon(workspace, 72)
    build_and_commit(folder)
    git(folder, "checkout", "--quiet", "main")
    add_icon(workspace, 73)
    build_and_commit(folder, "--prefix", "icon of")
    return folder


@pytest.fixture
def parted(split: Path, tmp_path: Path) -> Workspace:
    return reopen(copied(split, tmp_path / "studio"))


def merge(folder: Path) -> tuple[int, str]:
    done = try_git(folder, "merge", "--no-edit", OTHER)
    return done.returncode, done.stdout + done.stderr


def rebase(folder: Path) -> tuple[int, str]:
    done = try_git(folder, "rebase", OTHER)
    return done.returncode, done.stdout + done.stderr


def pick(folder: Path) -> tuple[int, str]:
    done = try_git(folder, "cherry-pick", OTHER)
    return done.returncode, done.stdout + done.stderr


WAYS = pytest.mark.parametrize(
    "way",
    [merge, *(pytest.param(way, marks=pytest.mark.slow) for way in (rebase, pick))],
    ids=["merge", "rebase", "cherry-pick"],
)


def validate_codes(workspace: Workspace) -> dict[str, dict[str, str]]:
    document = invoke(["validate", "--json"], workspace.root).document
    return {one["code"]: one for one in document["data"]["findings"] if one["severity"] == "error"}


# --- manifests ---------------------------------------------------------------------------------


@WAYS
def test_two_branches_that_built_the_manifest_come_together(
    parted: Workspace, way: Callable[[Path], tuple[int, str]]
) -> None:
    status, said = way(parted.root)
    merged = manifest_of(parted)

    assert status == 0, said
    assert "lora git finish" in said
    assert git(parted.root, "status", "--porcelain") == ""
    assert len(merged.items) == 6
    assert merged.caption_rule.prefix == "icon of"
    assert merged.content_hash == hash_of_manifest(merged)
    # Two captions are still those of the other branch's rule, and nothing claims otherwise.
    assert sum("icon of" not in item.caption for item in merged.items) in (2, 1)
    assert merged.unconfirmed_merge is not None
    # Every image is there and is what the manifest says of it.
    assert invoke(["dataset", "verify", "icons"], parted.root).exit_code == 0


@WAYS
def test_finish_builds_by_the_merged_rule_from_the_merged_art(
    parted: Workspace, way: Callable[[Path], tuple[int, str]]
) -> None:
    way(parted.root)
    before = validate_codes(parted)

    answer = invoke(["git", "finish", "--commit"], parted.root)
    built = manifest_of(parted)

    assert before["merge_unconfirmed"]["where"] == FILE
    assert before["merge_unconfirmed"]["fix"] == "lora git finish"
    assert answer.exit_code == 0, answer.stderr
    assert all("icon of" in item.caption for item in built.items)
    assert built.unconfirmed_merge is None
    assert validate_codes(parted) == {}
    assert git(parted.root, "status", "--porcelain") == ""
    assert "Built again after the merge: icons" in git(parted.root, "log", "-1", "--format=%s")
    # It is what a build of all this art by this rule comes to, to the byte.
    path = parted.root / FILE
    data = path.read_bytes()
    lora(parted.root, "dataset", "build", "icons")
    assert path.read_bytes() == data


@pytest.mark.slow
def test_a_build_confirms_as_well(parted: Workspace) -> None:
    merge(parted.root)

    lora(parted.root, "dataset", "build", "icons")

    assert manifest_of(parted).unconfirmed_merge is None


def test_a_build_confirms_also_when_nothing_else_changes(here: Workspace) -> None:
    """Nothing but the mark of the merge differs: no shortcut may take that for unchanged."""
    branch(here.root, OTHER)
    add_icon(here, 71)
    build_and_commit(here.root)
    git(here.root, "checkout", "--quiet", "main")
    add_icon(here, 72)
    build_and_commit(here.root)
    merge(here.root)
    merged = manifest_of(here)

    said = lora(here.root, "git", "finish")
    built = manifest_of(here)

    assert "5 images, as merged" in said
    assert built.items == merged.items
    assert built.content_hash == merged.content_hash
    assert built.unconfirmed_merge is None
    assert "No dataset waits" in lora(here.root, "git", "finish")


def test_finish_in_a_dry_run_writes_nothing(parted: Workspace) -> None:
    merge(parted.root)
    before = (parted.root / FILE).read_bytes()

    answer = invoke(["git", "finish", "--dry-run", "--json"], parted.root)

    assert answer.document["written"] == [FILE]
    assert answer.document["data"]["confirmed"][0]["asMerged"] is False
    assert (parted.root / FILE).read_bytes() == before


def test_finish_leaves_a_manifest_alone_whose_images_are_not_all_here(parted: Workspace) -> None:
    """A build would leave the image out, and the loss would look like a decision."""
    merge(parted.root)
    item = manifest_of(parted).items[0]
    (parted.data_root / item.path).unlink()
    before = (parted.root / FILE).read_bytes()

    answer = invoke(["git", "finish", "--json"], parted.root)

    assert answer.exit_code == 1
    assert answer.error["code"] == "merge_unconfirmed"
    assert "file missing" in answer.error["message"]
    assert (parted.root / FILE).read_bytes() == before


def test_an_image_that_one_branch_withdrew_is_not_brought_back(here: Workspace) -> None:
    victim = manifest_of(here).items[0].asset_id
    branch(here.root, OTHER)
    lora(here.root, "asset", "withdraw", victim, "--reason", "artist asked")
    build_and_commit(here.root)
    git(here.root, "checkout", "--quiet", "main")
    build_and_commit(here.root, "--prefix", "icon of")  # changes the caption of every image

    assert merge(here.root)[0] == 0
    merged = manifest_of(here)
    lora(here.root, "git", "finish")

    assert victim not in [item.asset_id for item in merged.items]
    assert merged.unconfirmed_merge is not None
    assert merged.unconfirmed_merge.undecided == (victim,)
    assert victim not in [item.asset_id for item in manifest_of(here).items]


@pytest.mark.slow
def test_a_manifest_that_both_branches_made_anew_comes_together(here: Workspace) -> None:
    for name, prefix in ((OTHER, "71"), ("main", "72")):
        if name == OTHER:
            branch(here.root, OTHER)
        else:
            git(here.root, "checkout", "--quiet", "main")
        add_icon(here, int(prefix))
        lora(here.root, "dataset", "build", "more", "--asset-type", "ui_icon")
        commit_all(here.root, "More")

    status, said = merge(here.root)
    more = here.records.read(Manifest, here.scope(), "more").record

    assert status == 0, said
    assert len(more.items) == 5
    assert more.content_hash == hash_of_manifest(more)


@pytest.mark.slow
def test_merges_that_cross_each_other_come_together(here: Workspace) -> None:
    """Two common ancestors: Git merges these first, and asks a driver for that as well."""
    folder = here.root
    branch(folder, OTHER)
    add_icon(here, 71)
    build_and_commit(folder, "--prefix", "one")
    git(folder, "checkout", "--quiet", "main")
    add_icon(here, 72)
    build_and_commit(folder, "--prefix", "two")
    tips = [git(folder, "rev-parse", name).strip() for name in ("main", OTHER)]
    for name, other, keep in (("main", tips[1], "ours"), (OTHER, tips[0], "theirs")):
        git(folder, "checkout", "--quiet", name)
        try_git(folder, "merge", "--no-edit", other)
        git(folder, "checkout", f"--{keep}", "--", FILE)
        lora(folder, "dataset", "build", "icons")
        commit_all(folder, "Crossed")
    add_icon(here, 73)
    build_and_commit(folder)
    git(folder, "checkout", "--quiet", "main")
    add_icon(here, 74)
    build_and_commit(folder)

    status, said = merge(folder)
    merged = manifest_of(here)

    assert status == 0, said
    assert len(merged.items) == 7
    assert merged.content_hash == hash_of_manifest(merged)


@pytest.mark.slow
def test_a_workspace_in_a_folder_of_the_repository_is_merged_as_well(tmp_path: Path) -> None:
    folder = studio_with_drivers(tmp_path / "top" / "two words").root
    top = folder.parent
    (folder / ".git").rename(top / ".git")
    (top / "README.md").write_text("x")
    commit_all(top, "Moved")
    workspace = reopen(folder)
    branch(top, OTHER)
    add_icon(workspace, 71)
    build_and_commit(folder)
    git(top, "checkout", "--quiet", "main")
    add_icon(workspace, 72)
    build_and_commit(folder)

    status, said = merge(top)

    assert status == 0, said
    assert len(manifest_of(workspace).items) == 5


# --- what cannot be merged ---------------------------------------------------------------------


@pytest.fixture
def clashing(here: Workspace) -> Workspace:
    folder = here.root
    branch(folder, OTHER)
    add_icon(here, 71)
    build_and_commit(folder, "--trigger", "glowicon")
    git(folder, "checkout", "--quiet", "main")
    build_and_commit(folder, "--trigger", "neonicon")
    return here


def test_rules_that_differ_are_said_in_plain_words(clashing: Workspace) -> None:
    status, said = merge(clashing.root)

    assert status == 1
    assert f"lora: {FILE} is not merged: the two sides ask for different things" in said
    assert 'captionRule.triggerWord   HEAD "neonicon"   art "glowicon"   before "nctyicon"' in said
    assert "lora dataset build icons --project neon_city" in said


def test_marks_stand_around_what_is_in_question_and_nowhere_else(clashing: Workspace) -> None:
    merge(clashing.root)
    text = (clashing.root / FILE).read_text()

    assert '<<<<<<< HEAD\n    "triggerWord": "neonicon"\n=======\n' in text
    assert '    "triggerWord": "glowicon"\n>>>>>>> art\n' in text
    assert text.count("<<<<<<<") == 1
    assert text.count('"assetId"') == 4


READING = [
    ["dataset", "show", "icons"],
    ["dataset", "build", "icons"],
    ["dataset", "verify", "icons"],
    ["dataset", "stats", "icons"],
    ["dataset", "stage", "icons"],
    ["dataset", "diff", "icons"],
    ["git", "finish"],
]


def test_every_reading_command_names_the_file_the_line_the_sides_and_the_way_out(
    clashing: Workspace,
) -> None:
    merge(clashing.root)
    text = (clashing.root / FILE).read_bytes()
    line = text[: text.index(b"<<<<<<<")].count(b"\n") + 1

    for command in READING:
        answer = invoke([*command, "--json"], clashing.root)
        assert answer.exit_code == 3, command
        assert answer.error["code"] == "merge_conflict", command
        assert answer.error["message"] == (
            f"{FILE} holds an unresolved merge: at line {line} (HEAD against art)"
        )
        assert f"git checkout --ours -- {FILE}" in answer.error["hint"]
        assert "lora dataset build icons --project neon_city" in answer.error["hint"]
    assert (clashing.root / FILE).read_bytes() == text


def test_validate_names_the_unresolved_merge_and_goes_on(clashing: Workspace) -> None:
    merge(clashing.root)

    finding = validate_codes(clashing)["merge_conflict"]

    assert finding["where"] == FILE
    assert finding["message"].startswith("holds an unresolved merge: at line ")
    assert "(HEAD against art)" in finding["message"]
    assert "git checkout --ours" in finding["fix"]


@pytest.mark.parametrize(("side", "word"), [("ours", "neonicon"), ("theirs", "glowicon")])
def test_the_way_out_that_is_named_leads_out(clashing: Workspace, side: str, word: str) -> None:
    merge(clashing.root)

    git(clashing.root, "checkout", f"--{side}", "--", FILE)
    lora(clashing.root, "dataset", "build", "icons", "--project", "neon_city")
    git(clashing.root, "add", FILE)
    git(clashing.root, "commit", "--no-edit", "--quiet")
    merged = manifest_of(clashing)

    assert validate_codes(clashing) == {}
    assert len(merged.items) == 4
    assert all(item.caption.startswith(word) for item in merged.items)
    assert git(clashing.root, "status", "--porcelain") == ""


def test_marks_that_were_resolved_by_hand_are_confirmed_by_a_build(clashing: Workspace) -> None:
    merge(clashing.root)
    path = clashing.root / FILE
    lines = path.read_text().splitlines(keepends=True)
    first = next(n for n, line in enumerate(lines) if line.startswith("<<<<<<<"))
    last = next(n for n, line in enumerate(lines) if line.startswith(">>>>>>>"))
    path.write_text(
        "".join([*lines[:first], '    "triggerWord": "bothicon"\n', *lines[last + 1 :]])
    )

    before = validate_codes(clashing)
    lora(clashing.root, "git", "finish")

    assert set(before) == {"merge_unconfirmed"}
    assert all(item.caption.startswith("bothicon") for item in manifest_of(clashing).items)


@pytest.mark.slow
def test_a_merge_can_be_tried_again_after_the_drivers_were_set_up(
    clashing: Workspace,
) -> None:
    lora(clashing.root, "git", "uninstall")
    status, _ = merge(clashing.root)
    as_lines = (clashing.root / FILE).read_text()

    lora(clashing.root, "git", "install")
    try_git(clashing.root, "checkout", "--merge", "--", FILE)

    assert status == 1
    assert as_lines.count('"assetId"') == 7  # line by line each caption clashes
    assert (clashing.root / FILE).read_text().count('"assetId"') == 4


def test_a_program_that_is_gone_leaves_git_to_merge_lines(parted: Workspace) -> None:
    command = git(parted.root, "config", "merge.lora.driver").removesuffix("\n")
    git(
        parted.root, "config", "merge.lora.driver",
        command.replace("-m lora_pipeline git", "-m gone_away git"),
    )  # fmt: skip

    status, _ = merge(parted.root)

    assert status == 1
    assert "<<<<<<< ours" in (parted.root / FILE).read_text()


@pytest.mark.slow
def test_a_side_that_is_no_manifest_is_merged_as_text_and_said(parted: Workspace) -> None:
    git(parted.root, "checkout", "--quiet", OTHER)
    path = parted.root / FILE
    path.write_text(path.read_text().replace('"schema"', '"shcema"'))
    commit_all(parted.root, "Broken by hand")
    git(parted.root, "checkout", "--quiet", "main")

    status, said = merge(parted.root)

    assert status == 1
    assert f"lora: {FILE} is merged as text, look at it: {FILE} (art): " in said
    assert "unknown field 'shcema', did you mean 'schema'?" in said


# --- other records -----------------------------------------------------------------------------


def with_tags(workspace: Workspace, group: str, *values: str) -> None:
    loaded = workspace.records.read(Tags, Scope(PROJECT), "tags")
    groups = tuple(
        TagGroup(
            id=one.id, label=one.label, exclusive=one.exclusive,
            tags=(*one.tags, *(Tag(id=f"{group}:{value}", label=value) for value in values)),
        )
        if one.id == group
        else one
        for one in loaded.record.groups
    )  # fmt: skip
    changes = Changes(workspace)
    changes.update(loaded, Tags(
        id="tags", created_at=loaded.record.created_at, updated_at=workspace.now(), groups=groups
    ))  # fmt: skip
    changes.apply()


def test_tags_that_both_branches_added_to_one_group_come_together(here: Workspace) -> None:
    branch(here.root, OTHER)
    with_tags(here, "shape", "moon", "cloud")
    commit_all(here.root, "Moon")
    git(here.root, "checkout", "--quiet", "main")
    with_tags(here, "shape", "sun")
    commit_all(here.root, "Sun")

    status, said = merge(here.root)
    tags = here.records.read(Tags, Scope(PROJECT), "tags").record
    shapes = [tag.id for group in tags.groups if group.id == "shape" for tag in group.tags]

    assert status == 0, said
    assert {"shape:moon", "shape:cloud", "shape:sun", "shape:circle"} <= set(shapes)
    assert len(shapes) == len(set(shapes))
    assert validate_codes(here) == {}


def test_a_word_that_both_branches_changed_is_a_conflict_of_that_word(here: Workspace) -> None:
    path = here.root / f"data/projects/{PROJECT}/catalogs/styles.json"
    for name in (OTHER, "main"):
        if name == OTHER:
            branch(here.root, OTHER)
        else:
            git(here.root, "checkout", "--quiet", "main")
        path.write_text(path.read_text().replace('"label": "Neon"', f'"label": "Neon {name}"'))
        commit_all(here.root, name)

    status, said = merge(here.root)

    assert status == 1
    assert 'styles[neon].label   HEAD "Neon main"   art "Neon art"   before "Neon"' in said
    assert path.read_text().count("<<<<<<<") == 1
    assert validate_codes(here)["merge_conflict"]["where"].endswith("catalogs/styles.json")


def lora_path(workspace: Workspace) -> Path:
    return workspace.root / f"data/projects/{PROJECT}/loras/icons.json"


def change_lora(workspace: Workspace, **members: object) -> None:
    document = strict_json.load(lora_path(workspace))
    lora_path(workspace).write_bytes(strict_json.dumps({**document, **members}))
    commit_all(workspace.root, "LoRA")


@pytest.fixture
def with_lora(here: Workspace) -> Workspace:
    add_checkpoint(here)
    add_lora(here)
    commit_all(here.root, "LoRA")
    return here


@pytest.mark.slow
def test_candidates_of_both_branches_come_together(with_lora: Workspace) -> None:
    def release(release_id: str) -> dict[str, object]:
        return {"id": release_id, "createdAt": "2026-03-01T12:00:00Z", "status": "candidate"}

    branch(with_lora.root, OTHER)
    change_lora(with_lora, releases=[release("r2")])
    git(with_lora.root, "checkout", "--quiet", "main")
    change_lora(with_lora, releases=[release("r1")], description="Icons")

    status, said = merge(with_lora.root)
    merged = strict_json.load(lora_path(with_lora))

    assert status == 0, said
    assert [one["id"] for one in merged["releases"]] == ["r1", "r2"]
    assert merged["description"] == "Icons"


@pytest.mark.slow
def test_the_same_release_registered_on_both_branches_is_a_conflict(with_lora: Workspace) -> None:
    def release(note: str) -> dict[str, object]:
        return {"id": "r1", "createdAt": "2026-03-01T12:00:00Z", "status": "candidate",
                "sha256": note * 64}  # fmt: skip

    branch(with_lora.root, OTHER)
    change_lora(with_lora, releases=[release("a")])
    git(with_lora.root, "checkout", "--quiet", "main")
    change_lora(with_lora, releases=[release("b")])

    status, said = merge(with_lora.root)

    assert status == 1
    assert "releases[r1].sha256" in said
    assert "repeat what the other side did" in said


def with_event(event: HistoryEvent) -> dict[str, object]:
    entry = HistoryEntry(event=event, at="2026-03-01T12:00:00Z", by="kim@studio.example")
    return {"history": [one.to_dict() for one in extended((), entry)]}


def test_two_histories_are_never_woven_into_one(with_lora: Workspace) -> None:
    branch(with_lora.root, OTHER)
    change_lora(with_lora, strength=0.7, **with_event("activated"))
    git(with_lora.root, "checkout", "--quiet", "main")
    change_lora(with_lora, enabled=False, **with_event("deactivated"))

    status, said = merge(with_lora.root)

    assert status == 1
    assert "history   HEAD deactivated   art activated" in said
    assert "chained to the one before" in said
    assert "keep the history of one side whole" in said
    assert validate_codes(with_lora)["merge_conflict"]["where"].endswith("loras/icons.json")


@pytest.mark.slow
def test_one_history_goes_with_what_the_other_branch_said(with_lora: Workspace) -> None:
    branch(with_lora.root, OTHER)
    change_lora(with_lora, enabled=False, **with_event("deactivated"))
    git(with_lora.root, "checkout", "--quiet", "main")
    change_lora(with_lora, description="Icons")

    status, said = merge(with_lora.root)
    merged = strict_json.load(lora_path(with_lora))

    assert status == 0, said
    assert (merged["enabled"], merged["description"]) == (False, "Icons")
    assert "history_broken" not in validate_codes(with_lora)


def test_assets_keep_the_merge_of_git(here: Workspace) -> None:
    """Approvals and rights of one asset are not woven from two branches."""
    asset = next(iter(here.records.all(Asset, here.scope())))
    answer = git(here.root, "check-attr", "merge", "--", here.relative(asset.path))

    assert answer.endswith("merge: unspecified\n")
