"""What a model has for an icon: an emoji, or up to two letters. Pure."""

import unicodedata

UNITS_MOST = 2  # as people see them
JOINER = "\u200d"
SKIN_TONES = range(0x1F3FB, 0x1F400)
TAGS = range(0xE0020, 0xE0080)  # of the flags of parts of countries
REGIONAL = range(0x1F1E6, 0x1F200)  # two of them are a flag
NEVER = ("C", "Z")  # categories: controls, halves of characters, what nobody has assigned; and spaces


def is_icon(text: str) -> bool:
    """Whether people see one or two signs."""
    units = 0
    before = ""
    is_flag = False  # that its first half has been seen of
    for sign in text:
        if _is_unseen(sign):
            return False
        is_half = ord(sign) in REGIONAL
        if not _continues(sign, before) and not (is_half and is_flag):
            units += 1
            is_flag = is_half
        else:
            is_flag = False
        if units == 0:
            return False
        before = sign
    return 0 < units <= UNITS_MOST and before != JOINER


def _is_unseen(sign: str) -> bool:
    return unicodedata.category(sign).startswith(NEVER) and sign != JOINER and ord(sign) not in TAGS


def _continues(sign: str, before: str) -> bool:
    """Whether `sign` is one with what stands before it."""
    if JOINER in {sign, before} or ord(sign) in TAGS or ord(sign) in SKIN_TONES:
        return True
    return unicodedata.category(sign).startswith("M")
