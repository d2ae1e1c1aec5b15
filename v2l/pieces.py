"""bytes of an image file ──► whether it has more pieces than pictures have, found without decoding it.

Pillow reads the chunks of a PNG, the segments of a JPEG and the blocks before a GIF's picture one after the
other in Python, and some of them take time that grows with the square of their number. A hostile GIF of 2 MB
keeps it busy for a minute, a larger one for hours. Each scan of a JPEG costs a pass over all its pixels, and
42 bytes are one. Each tag of an EXIF block may be a copy of the whole block.

Sources: PNG (ISO/IEC 15948), section 5; JPEG (ITU-T T.81), section B.1; GIF89a, sections 15 to 26.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

MOST_PIECES = 5_000  # a PNG of 24 MB in chunks of 8 kB has 3,000; a JPEG has 600 at most
PNG, JPEG, GIF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", (b"GIF87a", b"GIF89a")
MOST_SCANS = 50  # of a JPEG; a progressive one has about 10
MOST_EXIF = 2  # segments of a JPEG that hold an EXIF block, which Pillow joins
ALONE = {0x00, 0x01, *range(0xD0, 0xD9)}  # markers of JPEG without a length
SCAN, END = 0xDA, 0xD9
EXIF = re.compile(rb"\xff\xe1..Exif", re.DOTALL)
MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # what ends the data of a scan


def has_too_many_pieces(content: bytes) -> bool:
    """Whether a file has more than `MOST_PIECES` pieces; other formats have none that are counted."""
    if content.startswith(JPEG):
        return has_too_many_segments(content)
    if content.startswith(PNG):
        return is_longer(png_chunks(content))
    return content.startswith(GIF) and is_longer(gif_blocks(content))


def has_too_many_segments(content: bytes) -> bool:
    """The same for a JPEG, whose scans and EXIF blocks have limits of their own."""
    places = list(islice(jpeg_segments(content), MOST_PIECES + 1))
    scans = sum(content[place + 1] == SCAN for place in places)
    blocks = sum(bool(EXIF.match(content, place)) for place in places)
    return len(places) > MOST_PIECES or scans > MOST_SCANS or blocks > MOST_EXIF


def is_longer(pieces: Iterator[int]) -> bool:
    """Whether there are more than `MOST_PIECES`; no more than that are looked at."""
    return any(number > MOST_PIECES for number, _ in enumerate(pieces, start=1))


def png_chunks(content: bytes) -> Iterator[int]:
    """Where each chunk begins."""
    place = len(PNG)
    while place + 8 <= len(content):
        yield place
        place += 12 + int.from_bytes(content[place : place + 4])


def jpeg_segments(content: bytes) -> Iterator[int]:
    """Where each segment begins, up to the end of the picture, and each byte between them."""
    place = len(JPEG)
    while place + 1 < len(content):
        yield place
        marker = content[place + 1]
        if content[place] != 0xFF or marker == 0xFF:
            place += 1
        elif marker in ALONE:
            place += 2
        elif marker == END:
            return
        else:
            place += 2 + int.from_bytes(content[place + 2 : place + 4])
            if marker == SCAN:
                following = MARKER.search(content, place)
                place = following.start() if following else len(content)


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
