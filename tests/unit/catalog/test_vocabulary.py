from __future__ import annotations

from lora_pipeline.catalog.records import CatalogWord, Tag, TagGroup
from lora_pipeline.catalog.vocabulary import make_vocabulary, merge_groups, unknown_word


def group(group_id: str, *tags: Tag, exclusive: bool = False) -> TagGroup:
    return TagGroup(id=group_id, label=group_id, exclusive=exclusive, tags=tags)


def tag(tag_id: str, *, token: str = "", aliases: tuple[str, ...] = ()) -> Tag:
    return Tag(id=tag_id, label=tag_id, prompt_token=token, aliases=aliases)


VOCABULARY = make_vocabulary(
    styles=[CatalogWord(id="pixel_art", label="Pixel art", aliases=("8bit",))],
    groups=[
        group("style", tag("style:flat"), tag("style:neon"), exclusive=True),
        group("color", tag("color:gray", aliases=("grey",)), tag("color:red")),
    ],
)


def test_alias_means_the_tag_with_or_without_its_group_and_in_any_case() -> None:
    for spelling in ("grey", "color:grey", "Color:Grey", "COLOR:GRAY"):
        assert VOCABULARY.tag(spelling) == "color:gray"


def test_unknown_spelling_stays_as_it_was_given() -> None:
    assert VOCABULARY.tag("Shape:Star") == "Shape:Star"


def test_id_of_a_tag_wins_over_an_alias_of_another() -> None:
    words = make_vocabulary(
        groups=[group("color", tag("color:red", aliases=("color:pink",)), tag("color:pink"))]
    )

    assert words.tag("color:pink") == "color:pink"


def test_style_is_found_by_id_label_and_alias() -> None:
    for spelling in ("pixel_art", "Pixel Art", "8BIT"):
        assert VOCABULARY.style(spelling) == "pixel_art"
    assert VOCABULARY.style("cubist") == "cubist"


def test_unknown_tags_are_named_once_with_what_was_meant() -> None:
    found = VOCABULARY.unknown_tags(["color:red", "colr:red", "colr:red", "style:falt", "x:yz"])

    assert [str(one) for one in found] == [
        "colr:red (did you mean color:red?)",
        "style:falt (did you mean style:flat?)",
        "x:yz",
    ]


def test_right_word_in_a_wrong_group_is_told() -> None:
    assert VOCABULARY.unknown_tags(["paint:red"])[0].meant == "color:red"


def test_two_tags_of_an_exclusive_group_clash_and_of_another_do_not() -> None:
    clashes = VOCABULARY.clashes(["style:flat", "color:red", "color:gray", "style:neon"])

    assert [str(one) for one in clashes] == ["style:flat and style:neon exclude each other"]


def test_tag_given_twice_does_not_clash_with_itself() -> None:
    assert VOCABULARY.clashes(["style:flat", "style:flat"]) == []


def test_later_groups_add_tags_and_replace_those_of_the_same_id() -> None:
    shared = group("color", tag("color:red", token="red"), tag("color:blue", token="blue"))
    own = group("color", tag("color:red", token="crimson"), tag("color:teal"), exclusive=True)

    merged = merge_groups([shared, own])["color"]

    assert {one.id: one.prompt_token for one in merged.tags} == {
        "color:red": "crimson",
        "color:blue": "blue",
        "color:teal": "",
    }
    assert merged.exclusive


def test_word_that_is_known_is_not_unknown() -> None:
    assert unknown_word("pixel_art", VOCABULARY.styles) is None
    assert str(unknown_word("pixelart", VOCABULARY.styles)) == "pixelart (did you mean pixel_art?)"


def test_default_tags_give_way_to_what_an_image_has() -> None:
    groups = (
        TagGroup(id="style", label="Style", exclusive=True, tags=()),
        TagGroup(id="color", label="Colour", exclusive=False, tags=()),
    )
    words = make_vocabulary(groups=groups)

    defaults = ("style:flat", "color:red", "style:neon")
    assert words.fitting(defaults, ()) == ("style:flat", "color:red")
    assert words.fitting(defaults, ("style:ink", "color:red")) == ()
    assert words.fitting(defaults, ("color:blue",)) == ("style:flat", "color:red")
