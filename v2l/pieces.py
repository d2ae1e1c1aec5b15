"""bytes of an image file ──► whether it has more pieces than pictures have, found without decoding it.

Pillow reads the chunks of a PNG, the segments of a JPEG and the blocks before a GIF's picture one after the
other in Python, and some of them take time that grows with the square of their number. A hostile file of
2 MB keeps it busy for a minute, a larger one for hours.

Sources: PNG (ISO/IEC 15948), section 5; JPEG (ITU-T T.81), section B.1; GIF89a, sections 15 to 26.
"""

from __future__ import annotations

from collections.abc import Iterator

MOST_PIECES = 5_000  # a PNG of 24 MB in chunks of 8 kB has 3,000; a JPEG has 600 at most
PNG, JPEG, GIF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", (b"GIF87a", b"GIF89a")
ALONE = {0x00, 0x01, *range(0xD0, 0xD9)}  # markers of JPEG without a length
SCAN = 0xDA


def has_too_many_pieces(content: bytes) -> bool:
    """Whether a file has more than `MOST_PIECES` pieces; other formats have none that are counted."""
    if content.startswith(PNG):
        pieces = png_chunks(content)
    elif content.startswith(JPEG):
        pieces = jpeg_segments(content)
    elif content.startswith(GIF):
        pieces = gif_blocks(content)
    else:
        return False
    return any(number > MOST_PIECES for number, _ in enumerate(pieces, start=1))


def png_chunks(content: bytes) -> Iterator[int]:
    """Where each chunk begins."""
    place = len(PNG)
    while place + 8 <= len(content):
        yield place
        place += 12 + int.from_bytes(content[place : place + 4])


def jpeg_segments(content: bytes) -> Iterator[int]:
    """Where each segment before the first scan begins, and each byte between them."""
    place = len(JPEG)
    while place + 1 < len(content):
        yield place
        marker = content[place + 1]
        if content[place] != 0xFF or marker == 0xFF:
            place += 1
        elif marker in ALONE:
            place += 2
        elif marker == SCAN:
            return
        else:
            place += 2 + int.from_bytes(content[place + 2 : place + 4])


def gif_blocks(content: bytes) -> Iterator[int]:
    """Where each block before the first picture begins, and each byte between them."""
    if len(content) < 13:
        return
    colours = content[10]
    place = 13 + (3 * 2 ** ((colours & 7) + 1) if colours & 0x80 else 0)
    while place < len(content) and content[place] != ord(","):
        yield place
        if content[place] != ord("!"):
            place += 1
            continue
        place += 2
        while place < len(content) and content[place]:
            yield place
            place += 1 + content[place]
        place += 1
