"""Names of licences: SPDX ids in their proper spelling, and licences of one's own.

An SPDX id (or an expression of several) is written as SPDX writes it. Any other name is a
licence of one's own, as studios have them; one that looks like a misspelt SPDX id is told.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

import msgspec

from lora_pipeline.foundation.errors import ArgumentInvalidError

OWN_PREFIX = "LicenseRef-"
# What art stands under: asked for near names, where all of SPDX would answer with noise.
_COMMON = (
    "CC0-1.0", "CC-BY-4.0", "CC-BY-3.0", "CC-BY-2.0", "CC-BY-SA-4.0", "CC-BY-SA-3.0",
    "CC-BY-ND-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-NC-ND-4.0", "CC-PDDC", "PDDL-1.0",
    "MIT", "Apache-2.0", "BSD-3-Clause", "OFL-1.1", "Unlicense", "0BSD", "GFDL-1.3-only",
    "GPL-2.0-only", "GPL-3.0-only", "LGPL-3.0-only", "MPL-2.0", "Artistic-2.0", "FAL", "LAL-1.3",
)  # fmt: skip
_VERSION = re.compile(r"-\d+(\.\d+)*(-only)?$")


class LicenseName(msgspec.Struct, frozen=True):
    """What a text names.

    Attributes:
        text: The name, an SPDX id in its proper spelling.
        known: Whether it is SPDX, or one of the project's own.
        meant: The SPDX id that was probably meant, or empty.
    """

    text: str
    known: bool
    meant: str = ""


def read_license(text: str, own: Collection[str] = ()) -> LicenseName:
    """Return what a text names.

    Args:
        text: The name of a licence.
        own: Names that the project allows, which need not be SPDX.
    """
    name = " ".join(text.split())
    listed = next((one for one in own if one.casefold() == name.casefold()), "")
    if listed:
        return LicenseName(listed, known=True)
    proper = _spdx(name)
    if proper:
        return LicenseName(proper, known=True)
    return LicenseName(name, known=False, meant=_near(name))


def require_license(text: str, own: Collection[str] = ()) -> str:
    """Return the proper name of a licence that a person named.

    Raises:
        ArgumentInvalidError: When it looks like a misspelt SPDX id.
    """
    name = read_license(text, own)
    if name.meant:
        raise ArgumentInvalidError(
            f"{text!r} is no SPDX id",
            hint=f"did you mean {name.meant}? A licence of your own: {own_name(name.text)}",
        )
    return name.text


def license_url(name: str) -> str:
    """Return the page of a licence at spdx.org, or an empty string for any other name."""
    single = _spdx(name)
    if not single or " " in single or single.startswith(OWN_PREFIX):
        return ""
    return f"https://spdx.org/licenses/{single}"


def own_name(name: str) -> str:
    """Return a name as SPDX writes licences that it does not list."""
    return OWN_PREFIX + re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.")


def _spdx(name: str) -> str:
    # Imported late: it holds a long table, and most commands name no licence.
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        return str(canonicalize_license_expression(name))
    except InvalidLicenseExpression:
        return ""


def _near(name: str) -> str:
    plain = _plain(name)
    if not plain:
        return ""
    spelled = {_plain(one): one for one in _COMMON}
    # "cc by", "CC_BY_4.0", "cc0": the id without its version, or with other signs.
    unversioned: dict[str, str] = {}
    for one in _COMMON:
        unversioned.setdefault(_plain(_VERSION.sub("", one)), one)
    found = spelled.get(plain) or unversioned.get(plain)
    if found:
        return found
    near = difflib.get_close_matches(plain, spelled, n=1, cutoff=0.82)
    return spelled[near[0]] if near else ""


def _plain(name: str) -> str:
    word = name.casefold().removesuffix("license").removesuffix("licence")
    return re.sub(r"[^a-z0-9]+", "", word)
