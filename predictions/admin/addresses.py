"""What addresses of the admin's own pages say."""

LONGEST_KEY = 18  # digits that every database's keys have room for


def key_in(text: object) -> int:
    """Return the primary key that a part of an address says; 0, which no row has, if it says none."""
    digits = str(text)
    return int(digits) if digits.isdecimal() and len(digits) <= LONGEST_KEY else 0
