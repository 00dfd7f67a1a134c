"""What kind of file some bytes are, as far as a browser may be shown it; all else is just bytes. Pure.

Names and headers are what somebody claims. The signatures are those of the MIME Sniffing Standard, sections 6.1 and
6.2, and of the formats' own documents; no type is here that could hold a script.
"""

HEAD_LENGTH = 64  # bytes that decide
UNKNOWN = "application/octet-stream"

SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"\xff\xf3", "audio/mpeg"),
    (b"\xff\xf2", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
)
RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
BRANDS = {  # of an ISO base media file
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"M4A ": "audio/mp4",
    b"qt  ": "video/quicktime",
}
MP4_BRANDS = (b"iso", b"mp4", b"avc1", b"M4V ", b"dash")
MP4, WEBM = "video/mp4", "video/webm"

# What a browser may be shown as what it is.
SHOWN = frozenset({MP4, WEBM, *dict(SIGNATURES).values(), *RIFF.values(), *BRANDS.values()})


def media_type_of(head: bytes) -> str:
    """Return the media type of a file that begins with `head`."""
    for signature, media_type in SIGNATURES:
        if head.startswith(signature):
            return media_type
    if head.startswith(b"RIFF"):
        return RIFF.get(head[8:12], UNKNOWN)
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return BRANDS.get(brand, MP4 if brand.startswith(MP4_BRANDS) else UNKNOWN)
    if head.startswith(b"\x1a\x45\xdf\xa3") and b"webm" in head:
        return WEBM
    return UNKNOWN
