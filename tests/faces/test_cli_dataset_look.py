"""``lora dataset sheet``, ``stats`` and ``diff`` as people and scripts use them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace
from PIL import Image

from lora_pipeline.datasets.records import Item, Manifest
from lora_pipeline.workspace.layout import Scope
from tests.support.catalog_builders import add_asset, add_catalogs, draw_icon
from tests.support.dataset_builders import PROJECT, item
from tests.support.dataset_commands import done, lora
from tests.support.looking_builders import lfs_pointer, pictured, place_items, png
from tests.support.terminals import in_terminal
from tests.support.workspace_builders import (
    commit_all,
    git,
    invoke,
    make_workspace,
    reopen,
    tree_digest,
)

SHEET = ".lora/sheets/neon_city/icons.webp"
BLUE = (0, 0, 200)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose dataset of four images is committed, one of them held out."""
    folder = tmp_path_factory.mktemp("look") / "studio"
    workspace = make_workspace(folder, project=PROJECT)
    add_catalogs(workspace, PROJECT)
    items = []
    for number in range(4):
        art = draw_icon(folder.parent / f"{number}.png", seed=number)
        asset = add_asset(workspace, PROJECT, art, author="ana" if number else "bob")
        fields = {
            "caption": f"trgg, flat, number {number}",
            "tags": ("style:flat", f"color:{('red', 'blue')[number % 2]}"),
            "license": "CC0-1.0",
            "split": "train" if number else "held_out",
        }
        items.append(pictured(workspace, asset.id, art.read_bytes(), **fields))
    place_items(workspace, items)
    commit_all(folder, "Dataset")
    return folder


@pytest.fixture
def folder(tmp_path: Path, template: Path) -> Path:
    return shutil.copytree(template, tmp_path / "studio")


def items_of(folder: Path) -> list[Item]:
    return list(reopen(folder).records.read(Manifest, Scope(PROJECT), "icons").record.items)


def rebuilt(folder: Path, *items: Item) -> Path:
    return place_items(reopen(folder), items)


# --- sheet -------------------------------------------------------------------------------------


def test_a_sheet_is_written_outside_the_records_and_its_path_is_said(folder: Path) -> None:
    answer = done(folder, "sheet", "icons")

    assert answer.stdout.splitlines() == [
        "icons · 4 images on 1 page",
        f"  wrote      {SHEET}",
        "next  lora dataset stats icons",
    ]
    assert git(folder, "status", "--porcelain") == ""
    with Image.open(folder / SHEET) as sheet:
        assert sheet.format == "WEBP"
        assert not {"exif", "icc_profile", "xmp"} & set(sheet.info)


def test_a_sheet_drawn_again_is_the_same_to_the_byte(folder: Path) -> None:
    done(folder, "sheet", "icons", "--out", "one.png")
    done(folder, "sheet", "icons", "--out", "two.png")
    shutil.rmtree(folder / ".lora" / "cache")
    done(folder, "sheet", "icons", "--out", "three.png")

    one, two, three = ((folder / f"{name}.png").read_bytes() for name in ("one", "two", "three"))
    assert one == two == three


def test_many_images_stand_on_numbered_pages(folder: Path) -> None:
    done(folder, "sheet", "icons")
    three = done(folder, "sheet", "icons", "--per-page", "2", "--json").document["data"]["pages"]
    names = sorted(path.name for path in (folder / SHEET).parent.iterdir())
    done(folder, "sheet", "icons")

    assert three == [SHEET.replace(".webp", f"-00{page}.webp") for page in (1, 2)]
    assert names == ["icons-001.webp", "icons-002.webp"]  # the single page is not left beside them
    assert [path.name for path in (folder / SHEET).parent.iterdir()] == ["icons.webp"]


def test_only_what_was_asked_for_is_shown(folder: Path) -> None:
    data = done(folder, "sheet", "icons", "--tag", "color:red", "--json").document["data"]
    held = done(folder, "sheet", "icons", "--split", "held_out").stdout

    assert (data["shown"], data["images"]) == (2, 4)
    assert data["filter"] == {"tags": ["color:red"], "split": None}
    assert held.startswith("icons · 1 image of 4 on 1 page")


def test_letters_that_no_font_has_are_told(folder: Path) -> None:
    items = items_of(folder)
    rebuilt(folder, replace(items[0], caption="猫 and \U000f0000"), *items[1:])

    answer = done(folder, "sheet", "icons", "--font", "bundled")

    assert "no font has U+732B U+F0000; boxes stand for them" in answer.stdout


def test_images_that_cannot_be_shown_are_counted_with_the_reason(folder: Path) -> None:
    first, second, *_ = items_of(folder)
    data = folder / "data"
    (data / first.path).unlink()
    (data / second.path).write_bytes(lfs_pointer((data / second.path).read_bytes()))

    answer = done(folder, "sheet", "icons", "--json").document

    assert answer["warnings"] == [
        "2 images could not be shown: 1 file missing · 1 not fetched from Git LFS"
    ]
    assert answer["data"]["missing"] == [
        {"assetId": first.asset_id, "reason": "file missing"},
        {"assetId": second.asset_id, "reason": "not fetched from Git LFS"},
    ]


def test_a_dry_run_of_a_sheet_writes_nothing(folder: Path) -> None:
    before = tree_digest(folder)

    answer = done(folder, "sheet", "icons", "--dry-run")

    assert f"would write  {SHEET}" in answer.stdout
    assert tree_digest(folder) == before


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("sheet", "icns"), "record_not_found", "no dataset 'icns'"),
        (("sheet", "icons", "--tag", "color:rd"), "selection_empty", "carries the tag color:rd"),
        (
            ("sheet", "icons", "--tag", "color:red", "--tag", "color:blue"),
            "selection_empty",
            "none of the 2 images carries the tag color:blue",
        ),
        (
            ("sheet", "icons", "--tag", "color:blue", "--split", "held_out"),
            "selection_empty",
            "none of the 2 images is held out",
        ),
        (("sheet", "icons", "--per-page", "0"), "argument_invalid", "1 to 200"),
        (("sheet", "icons", "--per-page", "201"), "argument_invalid", "1 to 200"),
        (("sheet", "icons", "--out", "sheet.gif"), "argument_invalid", ".webp or .png"),
        (("sheet", "icons", "--out", "../sheet.png"), "unsafe_path", "outside the workspace"),
        (("sheet", "icons", "--out", "data/sheet.png"), "unsafe_path", "for records"),
        (("sheet", "icons", "--out", ".git/sheet.png"), "unsafe_path", "for records"),
        (("sheet", "icons", "--out", "note.png"), "state_forbids", "it stays as it is"),
        (("sheet", "icons", "--out", "dir.png"), "state_forbids", "is a folder"),
        (("sheet", "icons", "--font", "note.png"), "argument_invalid", "no font"),
        (("stats", "icns"), "record_not_found", "no dataset 'icns'"),
        (("diff", "icns"), "record_not_found", "no dataset 'icns' at HEAD or here"),
        (("diff", "icns", "--git", "main..HEAD"), "record_not_found", "at main or at HEAD"),
        (("diff", "icons", "icns"), "record_not_found", "no dataset 'icns'"),
        (("diff", "config/pipeline.yaml.json"), "record_not_found", "no manifest"),
        (("diff", "icons", "--git", "mian"), "git_failed", "no revision 'mian'"),
        (("diff", "icons", "--git", "main..mian"), "git_failed", "no revision 'mian'"),
        (("diff", "icons", "--git", "mian...main"), "git_failed", "no revision 'mian'"),
        (("diff", "icons", "--git", "--output=x"), "git_failed", "no revision '--output=x'"),
        (("diff", "icons", "icons", "--git", "HEAD"), "argument_invalid", "not both"),
        (("diff", "icons", "--html", "page.txt"), "argument_invalid", ".html"),
        (("diff", "icons", "--html", "../page.html"), "unsafe_path", "outside the workspace"),
        (("diff", "icons", "--html", "note.html"), "state_forbids", "it stays as it is"),
        (("diff", "icons", "--html", "p.html", "--pictures", "-1"), "argument_invalid", "0 to"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_bad_input_has_one_clear_error_and_writes_nothing(
    folder: Path, argv: tuple[str, ...], code: str, words: str
) -> None:
    (folder / "note.png").write_text("a note")
    (folder / "note.html").write_text("<!doctype html><p>a page of somebody")
    (folder / "dir.png").mkdir()
    before = tree_digest(folder)

    answer = lora(folder, *argv, "--json")

    assert answer.exit_code == 3
    assert answer.error["code"] == code
    assert words in answer.error["message"]
    assert tree_digest(folder) == before


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (("sheet", "icns"), "did you mean icons?"),
        (("sheet", "icons", "--tag", "color:rd"), "did you mean color:red?"),
        (("diff", "icns"), "did you mean icons?"),
        (("diff", "icons", "--git", "mian"), "did you mean main?"),
    ],
)
def test_a_slip_is_answered_with_the_nearest_word(
    folder: Path, argv: tuple[str, ...], hint: str
) -> None:
    assert lora(folder, *argv, "--json").error["hint"] == hint


def test_a_dataset_of_all_projects_is_looked_at_the_same_way(folder: Path) -> None:
    workspace = reopen(folder)
    one = pictured(workspace, "A", png(BLUE))
    place_items(workspace, [one], id="shared_icons", scope="baseline", project_id="")
    commit_all(folder, "Shared")
    place_items(
        workspace, [replace(one, caption="red")], id="shared_icons", scope="baseline", project_id=""
    )

    sheet = done(folder, "sheet", "shared_icons", "--scope", "baseline").stdout
    diff = done(folder, "diff", "shared_icons", "--scope", "baseline").stdout

    assert ".lora/sheets/shared/shared_icons.webp" in sheet
    assert "lora dataset stats shared_icons --scope baseline" in sheet
    assert diff.startswith("shared_icons since HEAD · +0  −0  ~1 caption")  # noqa: RUF001
    assert "--git HEAD --scope baseline --html diff.html" in diff
    assert done(folder, "stats", "shared_icons", "--scope", "baseline").exit_code == 0


# --- stats -------------------------------------------------------------------------------------


def test_stats_are_plain_where_there_is_no_terminal(folder: Path) -> None:
    lines = [line.rstrip() for line in done(folder, "stats", "icons").stdout.splitlines()]

    assert lines[0].startswith("icons · 4 images · ")
    assert "  pixels     64 × 64" in lines  # noqa: RUF001 - the sign that is printed
    assert "  licence    CC0-1.0" in lines
    assert "  captions   4 words, median 4 · 20 characters, median 20" in lines
    assert "color       blue        2   50%" in lines
    assert "style       flat        4  100%" in lines
    assert "author   ana               3   75%" in lines
    assert "split    to train on       3   75%" in lines
    assert not {"█", "\x1b"} & set("".join(lines))


def test_stats_as_json_are_complete(folder: Path) -> None:
    data = done(folder, "stats", "icons", "--json").document["data"]

    assert data["authors"] == [{"value": "ana", "images": 3}, {"value": "bob", "images": 1}]
    assert data["splits"] == [{"value": "train", "images": 3}, {"value": "held_out", "images": 1}]
    assert data["aspectRatios"] == [{"value": "1:1", "images": 4}]
    assert data["tagGroups"][0]["group"] == "color"
    assert data["captionLengths"]["words"] == {"shortest": 4, "median": 4, "longest": 4}
    assert data["assetsMissing"] == 0


def test_stats_say_which_assets_are_not_there_any_more(folder: Path) -> None:
    items = items_of(folder)
    rebuilt(folder, *items, item("GONE", caption="x"))
    record = next((folder / "data/projects/neon_city/assets").glob("*.json"))
    record.write_text("{}")

    answer = done(folder, "stats", "icons", "--json").document

    assert answer["data"]["assetsMissing"] == 2
    assert "2 of its assets have no valid record here" in answer["warnings"][0]


def test_many_values_are_cut_and_all_shows_them(folder: Path) -> None:
    items = [item(f"A{number:02}", caption="x", tags=(f"n:v{number}",)) for number in range(20)]
    rebuilt(folder, *items)

    assert "… 8 more (--all)" in done(folder, "stats", "icons").stdout
    assert "v19" in done(folder, "stats", "icons", "--all").stdout


def test_a_terminal_shows_bars(folder: Path) -> None:
    status, output = in_terminal(["dataset", "stats", "icons"], folder)
    _, without_colour = in_terminal(
        ["dataset", "stats", "icons"], folder, environment={"NO_COLOR": "1"}
    )

    assert status == 0
    assert "50%   \x1b[36;49m████████████" in output
    assert "50%   ████████████" in without_colour


# --- diff --------------------------------------------------------------------------------------


def reworked(folder: Path) -> list[Item]:
    """Change everything that can change, and return the new items."""
    workspace = reopen(folder)
    first, second, third, fourth = items_of(folder)
    (workspace.data_root / fourth.path).unlink()
    fresh = pictured(workspace, "01NEW", png(BLUE, (32, 32)), caption="trgg, new")
    new_bytes = png((1, 2, 3), (48, 48))
    items = [
        replace(first, split="train", license="MIT"),
        replace(second, caption="trgg, flat, red, number 1"),
        pictured(workspace, third.asset_id, new_bytes, caption=third.caption, tags=third.tags,
                 license=third.license),
        fresh,
    ]  # fmt: skip
    rebuilt(folder, *items)
    return items


def test_a_diff_tells_what_became_of_every_image(folder: Path) -> None:
    old = items_of(folder)
    reworked(folder)

    lines = [line.rstrip() for line in done(folder, "diff", "icons").stdout.splitlines()]

    assert lines[0] == (
        "icons since HEAD · +1  −1  ~1 image  ~1 caption  ~1 licence  ~1 split"  # noqa: RUF001
    )
    assert "  words      +red 1" in lines
    assert "  licence    CC0-1.0 → MIT   1 image" in lines
    assert "  split      held out → to train on   1 image" in lines
    told = {line.split()[1]: line for line in lines if line.startswith(("+", "−", "~"))}  # noqa: RUF001
    assert told["01NEW"].endswith("trgg, new")
    assert told[old[1].asset_id].endswith("caption +red")
    assert "image " in told[old[2].asset_id]
    assert told[old[3].asset_id].startswith("−")  # noqa: RUF001
    assert lines[-1] == "next  lora dataset diff icons --git HEAD --html diff.html"


def test_two_commits_are_compared_whatever_is_checked_out(folder: Path) -> None:
    git(folder, "checkout", "--quiet", "-b", "rework")
    reworked(folder)
    commit_all(folder, "Rework")
    git(folder, "checkout", "--quiet", "main")
    (folder / "later.txt").write_text("x")
    commit_all(folder, "Main went on")

    dots = done(folder, "diff", "icons", "--git", "main..rework", "--json").document["data"]
    parted = done(folder, "diff", "icons", "--git", "main...rework", "--json").document["data"]
    back = done(folder, "diff", "icons", "--git", "rework..", "--json").document["data"]

    assert (dots["came"], dots["went"], dots["changed"]) == (1, 1, 3)
    assert [side["label"] for side in dots["sides"]] == ["main", "rework"]
    assert parted["sides"][0]["label"] == "main where they parted"
    assert parted["sides"][0]["commit"] == git(folder, "rev-parse", "main~1").strip()
    assert back["sides"][1]["label"] == "HEAD"
    assert (back["came"], back["went"]) == (1, 1)


def test_a_dataset_that_is_new_or_gone_is_no_error(folder: Path) -> None:
    path = folder / "data/projects/neon_city/datasets/icons.json"
    git(folder, "checkout", "--quiet", "-b", "without")
    path.unlink()
    commit_all(folder, "Gone")

    gone = done(folder, "diff", "icons", "--git", "main").stdout
    new = done(folder, "diff", "icons", "--git", "without..main").stdout

    assert gone.startswith("icons since main · gone in work tree, it held 4 images")
    assert new.startswith("icons · without → main · new since without: 4 images")


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        ('{"id": "icons", "items": [', "json_invalid", "icons.json at broken is not JSON"),
        ("[]", "record_invalid", "icons.json at broken must hold one JSON object"),
        ('{"schema": "dataset/v9"}', "schema_unknown", "icons.json at broken"),
        ('{"schema": "dataset/v1", "id": "icons"}', "record_invalid", "icons.json at broken"),
        ("<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> x\n", "merge_conflict", "icons.json at broken"),
    ],
)
def test_a_manifest_that_was_broken_at_a_revision_is_said_so(
    folder: Path, content: str, code: str, words: str
) -> None:
    path = folder / "data/projects/neon_city/datasets/icons.json"
    text = path.read_text()
    path.write_text(content)
    commit_all(folder, "Broken")
    git(folder, "tag", "broken")
    path.write_text(text)

    answer = lora(folder, "diff", "icons", "--git", "broken", "--json")

    assert answer.exit_code == 3
    assert answer.error["code"] == code
    assert words in answer.error["message"]
    assert answer.error["hint"].startswith("choose another revision: git log --oneline -- data/")


def test_without_git_two_datasets_can_be_compared_and_the_past_cannot(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "studio", git=False, project=PROJECT)
    place_items(workspace, [item("A")])
    place_items(workspace, [item("A", caption="red"), item("B")], id="other")

    past = lora(workspace.root, "diff", "icons", "--json")
    two = done(workspace.root, "diff", "icons", "other").stdout

    assert past.exit_code == 3
    assert past.error["code"] == "git_failed"
    assert "is not in a Git repository, so it has no past" in past.error["message"]
    assert "lora dataset diff icons OTHER" in past.error["hint"]
    assert two.startswith("icons → other · +1  −0  ~1 caption")  # noqa: RUF001
    assert done(workspace.root, "diff", "icons", "other", "--html", "d.html").exit_code == 0
    assert done(workspace.root, "sheet", "icons").exit_code == 0


def test_nothing_changed_is_said_in_one_line(folder: Path) -> None:
    assert done(folder, "diff", "icons").stdout == "icons since HEAD · nothing changed\n"


def test_many_images_are_cut_and_all_lists_them(folder: Path) -> None:
    rebuilt(folder, *(item(f"A{number:03}") for number in range(60)))

    assert "… and 24 more images (--all lists them)" in done(folder, "diff", "icons").stdout
    assert "A059" in done(folder, "diff", "icons", "--all").stdout


def test_markdown_is_printed_alone(folder: Path) -> None:
    reworked(folder)

    text = done(folder, "diff", "icons", "--markdown").stdout

    assert text.startswith("### `icons`\n\n`HEAD` → `work tree` · **+1  −1")  # noqa: RUF001
    assert text.endswith("</details>\n")
    assert "`trgg, flat,` **`red,`** `number 1`" in text


def test_a_page_holds_everything_that_it_shows(folder: Path) -> None:
    reworked(folder)

    answer = done(folder, "diff", "icons", "--html", "diff.html")
    page = (folder / "diff.html").read_text(encoding="utf-8")

    assert "  pictures   6 of 6" in answer.stdout.splitlines()
    assert "  wrote      diff.html" in answer.stdout.splitlines()
    # The image that went comes from Git: its file is gone from the work tree.
    assert page.count("data:image/webp;base64,") == 6
    assert "file missing" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page


def test_a_page_is_written_again_over_itself_and_the_same_to_the_byte(folder: Path) -> None:
    reworked(folder)
    done(folder, "diff", "icons", "--html", "diff.html")
    first = (folder / "diff.html").read_bytes()
    done(folder, "diff", "icons", "--html", "diff.html")

    assert (folder / "diff.html").read_bytes() == first


def test_fewer_pictures_than_images_are_never_silent(folder: Path) -> None:
    reworked(folder)

    answer = done(folder, "diff", "icons", "--html", "diff.html", "--pictures", "2")
    page = (folder / "diff.html").read_text(encoding="utf-8")

    assert "2 of 6 images have their picture on the page (--pictures N)" in answer.stdout
    assert "Pictures of 2 of 6 images; the others are listed without one." in page
    assert page.count("data:image/webp;base64,") == 2


def test_a_pointer_that_was_not_fetched_is_a_placeholder(folder: Path) -> None:
    old = items_of(folder)
    path = folder / "data" / old[3].path
    path.write_bytes(lfs_pointer(path.read_bytes()))
    rebuilt(folder, *old[:3])
    git(folder, "checkout", "--quiet", "--orphan", "fresh")
    commit_all(folder, "Pointers only")
    rebuilt(folder, *old)

    answer = done(folder, "diff", "icons", "--html", "diff.html")

    assert "1 picture is not here; the page says why" in answer.stdout
    assert "not fetched from Git LFS" in (folder / "diff.html").read_text(encoding="utf-8")


def test_a_dry_run_of_a_page_writes_nothing(folder: Path) -> None:
    reworked(folder)
    before = tree_digest(folder)

    answer = done(folder, "diff", "icons", "--html", "diff.html", "--dry-run")

    assert "would write  diff.html" in answer.stdout
    assert tree_digest(folder) == before


def test_a_page_and_markdown_at_once_are_a_usage_error(folder: Path) -> None:
    assert lora(folder, "diff", "icons", "--html", "d.html", "--markdown").exit_code == 2


def test_agents_call_them_by_name(folder: Path) -> None:
    reworked(folder)
    arguments = {"datasetId": "icons", "html": "diff.html"}

    answer = invoke(["call", "dataset.diff-page", json.dumps(arguments)], folder)
    read = invoke(["call", "dataset.diff", '{"datasetId": "icons", "markdown": true}'], folder)

    assert answer.document["data"]["html"] == "diff.html"
    assert read.document["data"]["markdown"].startswith("### `icons`")
