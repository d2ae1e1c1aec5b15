"""image file ⇄ image (3, H, W): float32 RGB in [0, 1]; masks (H, W); pages of pictures for people.

Opening is safe: only bitmap formats that Pillow decodes by itself, never more pixels than
`Image.MAX_IMAGE_PIXELS`. Cameras' orientation (EXIF) is honoured, animations give their first frame,
transparency is laid over white.
"""

from __future__ import annotations

import struct
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from PIL import ExifTags, Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

from v2l.archives import LeftOutWarning
from v2l.errors import V2LError
from v2l.files import write_file
from v2l.pieces import MOST_PIECES, has_too_many_pieces
from v2l.sources import ImageFile, image_bytes, image_size
from v2l.tokens import Outline


class UnreadableWarning(LeftOutWarning):
    """A file that is skipped because it cannot be read; `Skipped` lists it too."""


# `Skipped` reports such files; as warnings they are for those who want an error instead.
warnings.filterwarnings("ignore", category=UnreadableWarning, append=True)

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")
# Of a file that may be hostile: what decoders in C read, whose memory the stated size bounds. A run-length
# BMP of 1 kB skips over gigabytes, and a TIFF's table of tiles becomes a hundred times its size in memory.
SAFE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
LARGEST_EXIF = 131_072  # bytes of such a file's EXIF block, or of its hexadecimal digits: a JPEG's segments
SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG"},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".webp": {"format": "WEBP", "lossless": True},
    ".bmp": {"format": "BMP"},
    ".tif": {"format": "TIFF"},
    ".tiff": {"format": "TIFF"},
}
UPRIGHT = {  # EXIF's orientation ──► what turns the stored picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
QUARTER_TURNS = {  # they exchange height and width
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
}
WIDE_SCALES = {
    "I": 65535.0,
    "F": 1.0,
}  # brightest value of grey images wider than 8 bits; other wide modes are I;16 and its orders
CLIP_SIZE = 224  # side of the square that CLIP sees
HALF_OPAQUE = 128  # of 255
GREY_ALLOWED = 0.1  # share of a mask's pixels: soft edges and traces of JPEG
COLOURS = (
    "#b00020",
    "#0050b0",
    "#00703c",
    "#7a3fa0",
    "#a05000",
    "#006070",
    "#5a5a00",
    "#a0206a",
)  # of borders
COLOURED = 64  # borders at most that have colours; a finer grid is drawn in black
LONGEST_SHAPE = 4  # long side : short side; more of a sliver would only cost memory


@dataclass(frozen=True)
class EncodedImage:
    """An image file in memory; over a network it may be hostile.

    Attributes:
        name: what errors call it ("image 2").
        content: the bytes of the file.
        max_pixels: width times height above which it is refused before it is decoded; then only
            `SAFE_FORMATS` are read. None is Pillow's limit, and `FORMATS`.
    """

    name: str
    content: bytes = field(repr=False)
    max_pixels: int | None = None

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats that are read."""
        return FORMATS if self.max_pixels is None else SAFE_FORMATS

    def check_pixels(self, width: int, height: int) -> None:
        """Refuse a picture of too many pixels, by the sides that the file's head states.

        Raises:
            V2LError: width times height is above `max_pixels`.
        """
        if self.max_pixels is not None and width * height > self.max_pixels:
            got = f"{self} is enormous: {width} × {height} pixels"
            raise V2LError(got, f"at most {self.max_pixels / 1e6:g} million pixels", "make it smaller first")

    def __str__(self) -> str:
        return self.name


Readable = ImageFile | EncodedImage


def read_image(encoded: EncodedImage, needed_pixels: int | None = None) -> tuple[Tensor, tuple[int, int]]:
    """Decode an image: (3, H, W) float32 RGB in [0, 1], and its full size (height, width).

    Args:
        encoded: its bytes.
        needed_pixels: a JPEG whose shorter side stays at least so long is decoded at 1/2, 1/4 or 1/8 of its
            size, which libjpeg does much faster; None decodes every pixel.

    Raises:
        V2LError: the bytes are empty, truncated, too large, or no image.
    """
    return _read(encoded, "white", needed_pixels)


def load_image(file: str | Readable) -> Tensor:
    """Read an image file of any common kind, or an image inside an archive: (3, H, W) float32 RGB in [0, 1].

    Raises:
        V2LError: the file is missing, empty, truncated, too large, or no image.
    """
    return _read(Path(file) if isinstance(file, str) else file, background="white")[0]


def check_suffix(path: str | Path) -> str:
    """The suffix of an image to be written, in lower case; to be asked before long work.

    Raises:
        V2LError: it names no image format.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SAVE_OPTIONS:
        got = f"its suffix {suffix} is no image format" if suffix else "it has no suffix to say the format"
        raise V2LError(f"cannot write {path}: {got}", ", ".join(SAVE_OPTIONS), "-o picture.png")
    return suffix


def save_image(image: Tensor, path: str | Path) -> None:
    """Write an image (3, H, W) in [0, 1]. The suffix chooses the format; PNG, WebP, BMP and TIFF keep 8 bits.

    Raises:
        V2LError: the suffix is unknown, its format cannot hold so many pixels, or the disk is full or cannot
            be written.
    """
    suffix = check_suffix(path)
    try:
        encoded = encode_image(
            image, **SAVE_OPTIONS[suffix]
        )  # Pillow, writing to a file itself, does not notice when a full disk cuts it short
    except (OSError, ValueError, struct.error) as error:
        got = f"cannot write {image.shape[-1]} × {image.shape[-2]} pixels as {suffix} ({error})"
        raise V2LError(got, "a size that the format can hold", "-o picture.png") from error
    with write_file(path) as temporary:
        temporary.write_bytes(encoded)


def can_write(format_name: str) -> bool:
    """Whether this Pillow writes a format ("AVIF")."""
    Image.init()
    return format_name in Image.SAVE


def encode_image(image: Tensor, **options: Any) -> bytes:
    """An image (3, H, W) in [0, 1] as the bytes of a file; `options` are Pillow's, `format` first."""
    encoded = BytesIO()
    _to_pillow(image).save(encoded, **options)
    return encoded.getvalue()


def decode_image(content: bytes) -> Tensor:
    """What `encode_image` gave ──► (3, H, W) float32 in [0, 1]."""
    with Image.open(BytesIO(content), formats=FORMATS) as picture:
        return _from_pillow(picture.convert("RGB"))


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images (..., 3, H, W) to `size` = (height, width), bicubic; values stay in [0, 1]."""
    batch = images.reshape(-1, *images.shape[-3:])
    resized = interpolate(batch, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    return resized.reshape(*images.shape[:-2], *size)


def resize_shorter(images: Tensor, size: int) -> Tensor:
    """Resize images (..., 3, H, W): the shorter side becomes `size`; of a sliver the middle is kept."""
    limit = LONGEST_SHAPE * min(images.shape[-2:])
    images = centre_crop(images, (limit, limit))
    shorter = min(images.shape[-2:])
    height, width = (side * size // shorter for side in images.shape[-2:])
    return resize(images, (height, width))


def resize_and_crop(images: Tensor, size: int) -> Tensor:
    """Resize the shorter side of images (..., 3, H, W) to `size`, then crop the centre square."""
    return centre_crop(resize_shorter(images, size), (size, size))


def resize_in_two_steps(images: Tensor, size: int) -> Tensor:
    """Resize images (B, 3, H, W) to (B, 3, size, size), bit-equal to the official code.

    First the view of CLIP: Pillow's resize and a centre crop in 8 bits. Then bilinear interpolation
    without antialiasing, which causes staircase artefacts.
    """
    resized = [
        transforms.resize(_to_pillow(image), [CLIP_SIZE], interpolation=InterpolationMode.BICUBIC)
        for image in images
    ]
    seen = torch.stack(
        [_from_pillow(transforms.center_crop(image, [CLIP_SIZE, CLIP_SIZE])) for image in resized]
    )
    return interpolate(seen.to(images.device), size=(size, size), mode="bilinear", align_corners=False)


def centre_crop(images: Tensor, size: tuple[int, int]) -> Tensor:
    """The centre of images (..., H, W), at most `size` = (height, width)."""
    height, width = (min(side, limit) for side, limit in zip(images.shape[-2:], size, strict=True))
    top, left = (images.shape[-2] - height) // 2, (images.shape[-1] - width) // 2
    return images[..., top : top + height, left : left + width]


def load_mask(file: str | Readable, size: tuple[int, int]) -> Tensor:
    """Read a mask: (H, W) bool, True where the picture is white, to be filled. Transparent counts as black.

    Raises:
        V2LError: no readable image, grey rather than black and white, another size than `size` = (H, W),
            nothing masked, or everything.
    """
    values = _read(Path(file) if isinstance(file, str) else file, background="black")[0].mean(dim=0)
    between = ((values > 0.2) & (values < 0.8)).float().mean().item()
    if between > GREY_ALLOWED:
        got = f"the mask {file} is not black and white: {between:.0%} of its pixels are grey"
        raise V2LError(
            got,
            "white where to fill and black elsewhere, soft edges excepted",
            "--centre, or another picture",
        )
    return check_mask(values >= 0.5, size, name=f"the mask {file}")


def opacity(file: Readable) -> Tensor:
    """How opaque a picture is: (H, W) uint8, from 0 to 255.

    Raises:
        V2LError: as `load_image`.
    """
    picture, _ = _opened(file, lambda: _upright(file))
    if not picture.has_transparency_data:
        return torch.full((picture.height, picture.width), 255, dtype=torch.uint8)
    return torch.from_numpy(np.array(picture.convert("RGBA").getchannel("A")))


def transparent_part(file: Readable) -> Tensor | None:
    """Where a picture is transparent: (H, W) bool, True below half opacity; None if it is opaque.

    Raises:
        V2LError: as `load_image`.
    """
    transparent = opacity(file) < HALF_OPAQUE
    return transparent if bool(transparent.any()) else None


def box_mask(box: Sequence[int], size: tuple[int, int]) -> Tensor:
    """A mask (H, W), True in `box` = (left, top, right, bottom) in pixels; right and bottom are excluded.

    Raises:
        V2LError: the box is empty, is the whole image, or does not lie inside `size` = (H, W).
    """
    height, width = size
    left, top, right, bottom = box
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        got = ",".join(str(side) for side in box)
        allowed = f"left,top,right,bottom inside the image's {width} × {height}"
        raise V2LError(f"got box {got}", allowed, f"--box 0,0,{width // 2},{height // 2}")
    mask = torch.zeros(size, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return check_mask(mask, size, name="the box")


def centre_mask(size: tuple[int, int]) -> Tensor:
    """The mask of the centre box, half as high and half as wide as `size` = (H, W).

    Raises:
        V2LError: the image is too small to have a centre and a border.
    """
    height, width = size
    if height * width < 2:
        raise V2LError(
            f"an image of {width} × {height} pixels has no centre and no border",
            "at least 2 pixels",
            "a larger image",
        )
    top, left = height // 4, width // 4
    return box_mask((left, top, left + (width + 1) // 2, top + (height + 1) // 2), size)


def check_mask(mask: Tensor, size: tuple[int, int], name: str = "the mask") -> Tensor:
    """The mask itself, when it is bool of `size` = (H, W) and leaves something to do and something to see.

    Raises:
        V2LError: it does not.
    """
    white = "white pixels, which mark what to fill, beside black ones"
    if mask.dtype != torch.bool:
        raise V2LError(f"{name} holds {mask.dtype}", "torch.bool, True where to fill", "mask > 0.5")
    if tuple(mask.shape) != tuple(size):
        got = " × ".join(str(side) for side in reversed(mask.shape))
        raise V2LError(
            f"{name} is {got} pixels",
            f"the image's size, {size[1]} × {size[0]}",
            "a mask drawn on the image itself",
        )
    if not mask.any():
        raise V2LError(f"{name} is empty: nothing to fill", white, "--centre")
    if mask.all():
        raise V2LError(f"{name} covers the whole image: nothing is left to look at", white, "--centre")
    return mask


@dataclass
class Skipped:
    """The files that could not be read, each with the reason."""

    files: list[tuple[ImageFile, str]] = field(default_factory=list)

    def add(self, path: ImageFile, error: V2LError) -> None:
        """Note one file and what was wrong with it."""
        self.files.append((path, str(error)))
        warnings.warn(UnreadableWarning(error.got, error.allowed, error.run), stacklevel=2)

    def __len__(self) -> int:
        return len(self.files)

    def report(self) -> str:
        """One line for the count and one for each file; empty when nothing was skipped."""
        if not self.files:
            return ""
        return "\n".join(
            [f"skipped {len(self)} unreadable file(s):", *(f"  {reason}" for _, reason in self.files)]
        )


def load_images(
    paths: Iterable[ImageFile], skipped: Skipped | None = None
) -> Iterator[tuple[ImageFile, Tensor]]:
    """Each readable file with its image (3, H, W); the others are put in `skipped`."""
    skipped = Skipped() if skipped is None else skipped  # an empty one is False
    for path in paths:
        try:
            image = load_image(path)
        except V2LError as error:
            skipped.add(path, error)
        else:
            yield path, image


def image_grid(rows: Sequence[Sequence[Tensor]], labels: Sequence[Sequence[str]], cell: int = 160) -> Tensor:
    """A page of pictures for people: (3, H, W), white, each image fitted into a square with its label below.

    Args:
        rows: the images, row by row.
        labels: as many strings, row by row; long lines are wrapped.
        cell: side of the squares, in pixels.
    """
    margin, line = 8, 15
    font = ImageFont.load_default(size=12)
    wrapped = [
        [
            [line for part in label.splitlines() for line in textwrap.wrap(part, width=cell // 7)]
            for label in row
        ]
        for row in labels
    ]
    heights = [cell + line * max(map(len, row), default=0) + margin for row in wrapped]
    page = Image.new("RGB", (margin + max(map(len, rows)) * (cell + margin), margin + sum(heights)), "white")
    draw = ImageDraw.Draw(page)
    top = margin
    for images, texts, height in zip(rows, wrapped, heights, strict=True):
        for column, (image, lines) in enumerate(zip(images, texts, strict=True)):
            left = margin + column * (cell + margin)
            page.paste(ImageOps.pad(_to_pillow(image), (cell, cell), color="white"), (left, top))
            draw.multiline_text(
                (left, top + cell + 1), "\n".join(lines), fill="black", font=font, spacing=line - 12
            )
        top += height
    return _from_pillow(page)


def draw_outlines(
    image: Tensor, outlines: Sequence[Outline], words: Sequence[str], longest: int = 768
) -> Tensor:
    """An image with the border and the word of each token: (3, H', W') in [0, 1], for people.

    Tokens with the same outline share one label. A label that would cover another is moved down.

    Args:
        image: (3, H, W) in [0, 1]; it is resized so that its longer side has `longest` pixels.
        outlines: one for each token, in shares of the image's sides; empty if the tokens have no place in the
            image.
        words: one for each token; without outlines they are written into the top left corner.
        longest: pixels.
    """
    scale = longest / max(image.shape[-2:])
    height, width = (max(1, round(side * scale)) for side in image.shape[-2:])
    picture = _to_pillow(resize(image, (height, width)))
    labels: dict[Outline, list[str]] = {}
    for outline, word in zip(outlines or [Outline((), (0.0, 0.0))] * len(words), words, strict=False):
        labels.setdefault(outline, []).extend([word] if word else [])
    page = _LabelledPage(ImageDraw.Draw(picture), (width, height))
    is_fine = len(labels) > COLOURED
    for number, outline in enumerate(labels):
        page.draw_border(outline, "black" if is_fine else COLOURS[number % len(COLOURS)])
    for number, (outline, names) in enumerate(labels.items()):
        if is_fine:
            page.write_small(outline, ", ".join(names))
        elif names:
            page.write_label(outline, ", ".join(names), COLOURS[number % len(COLOURS)])
    return _from_pillow(picture)


@dataclass
class _LabelledPage:
    """A picture on which borders and labels are drawn.

    Attributes:
        draw: Pillow's pen.
        size: (width, height) of the picture in pixels.
        taken: the rectangles (left, top, right, bottom) of the labels so far.
    """

    draw: ImageDraw.ImageDraw
    size: tuple[int, int]
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)

    def draw_border(self, outline: Outline, colour: str) -> None:
        """Lines in white under the colour, so that they are visible on any image."""
        width, height = self.size
        for x0, y0, x1, y1 in outline.segments:
            line = (x0 * width, y0 * height, x1 * width, y1 * height)
            self.draw.line(line, fill="white", width=5)
            self.draw.line(line, fill=colour, width=3)

    def write_small(self, outline: Outline, text: str) -> None:
        """A word inside a small cell, without a background."""
        place = outline.anchor[0] * self.size[0] + 2, outline.anchor[1] * self.size[1] + 1
        font = ImageFont.load_default(size=11)
        self.draw.text(place, text, fill="white", font=font, stroke_width=1, stroke_fill="black")

    def write_label(self, outline: Outline, text: str, colour: str) -> None:
        """A label of the border's colour, at its anchor or at the next free place below."""
        font = ImageFont.load_default(size=14)
        wrapped = textwrap.fill(text, width=max(12, self.size[0] // 8))
        right, bottom = self.draw.multiline_textbbox((0, 0), wrapped, font=font)[2:]
        width, height = right + 6, bottom + 6
        left = min(outline.anchor[0] * self.size[0] + 3, max(0.0, self.size[0] - width))
        top = min(outline.anchor[1] * self.size[1] + 3, max(0.0, self.size[1] - height))
        for place in [top, *range(int(top), self.size[1] - int(height), 4), *range(0, int(top), 4)]:
            label = (left, float(place), left + width, place + height)
            if not any(_overlap(label, other) for other in self.taken):
                break
        else:
            label = (left, top, left + width, top + height)  # there is no free place
        self.taken.append(label)
        self.draw.rectangle(label, fill=colour, outline="white")
        self.draw.multiline_text((label[0] + 3, label[1] + 2), wrapped, fill="white", font=font)


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two rectangles (left, top, right, bottom) have a common area."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


Decoded = tuple[Image.Image, tuple[int, int]]
"""A picture and its full size (height, width), which is larger where a JPEG was decoded smaller."""


def _read(
    file: Readable, background: str, needed_pixels: int | None = None
) -> tuple[Tensor, tuple[int, int]]:
    """(3, H, W) in [0, 1] and the full size; a fault in making the tensor is no fault of the file."""
    picture, full_size = _opened(file, lambda: _decode(file, background, needed_pixels))
    image = _from_pillow(picture) if picture.mode == "RGB" else _from_wide(picture, file)
    return image, full_size


def _opened(file: Readable, decode: Callable[[], Decoded]) -> Decoded:
    """The decoded picture; each fault of a file becomes one clear line."""
    try:
        if isinstance(file, Path) and not file.is_file():
            raise V2LError(
                f"{file} is a folder" if file.is_dir() else f"there is no file {file}",
                "the path of an image file",
                f"ls {file.parent}",
            )
        return decode()
    except V2LError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = f"{(Image.MAX_IMAGE_PIXELS or 0) / 1e6:.0f} million pixels"
        raise V2LError(f"{file} is enormous: {error}", f"at most {limit}", "make it smaller first") from error
    except UnidentifiedImageError as error:
        got = "is empty (0 bytes)" if _size(file) == 0 else "is no image that v2l reads"
        raise V2LError(
            f"{file} {got}", ", ".join(formats_of(file)), "another file, or this one saved again as PNG"
        ) from error
    except (
        Exception
    ) as error:  # Pillow's decoders raise a dozen kinds; each means that the file is not to be had whole
        raise V2LError(
            f"{file} is truncated, damaged or unreadable ({error})",
            "a whole " + ", ".join(formats_of(file)) + " file",
            "another copy of it",
        ) from error


def _orientation(picture: Image.Image, file: Readable) -> int:
    """EXIF's orientation; 1 where a hostile file's block is so large that its tags would fill the memory."""
    if file_is_hostile(file):
        blocks = (picture.info.get(name, b"") for name in ("exif", "Raw profile type exif"))
        if any(len(block) > LARGEST_EXIF for block in blocks):
            return 1
    orientation: int = picture.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation


def file_is_hostile(file: Readable) -> TypeGuard[EncodedImage]:
    """Whether a file may have come from anybody: one with a limit of its pixels."""
    return isinstance(file, EncodedImage) and file.max_pixels is not None


def _check_pieces(file: Readable) -> None:
    """Refuse a hostile file before Pillow looks at it.

    Raises:
        V2LError: it has more pieces than pictures have.
    """
    if file_is_hostile(file) and has_too_many_pieces(file.content):
        got = f"{file} has more than {MOST_PIECES:,} pieces beside its pixels"
        raise V2LError(got, "a file as cameras and programs write it", "this one saved again as PNG")


def formats_of(file: Readable) -> tuple[str, ...]:
    """The formats in which a file may be."""
    return file.formats if isinstance(file, EncodedImage) else FORMATS


def _size(file: Readable) -> int:
    """How many bytes a file has."""
    return len(file.content) if isinstance(file, EncodedImage) else image_size(file)


def _source(file: Readable) -> Path | BytesIO:
    """What Pillow opens."""
    if isinstance(file, EncodedImage):
        return BytesIO(file.content)
    return file if isinstance(file, Path) else BytesIO(image_bytes(file))


def _decode(file: Readable, background: str, needed_pixels: int | None) -> Decoded:
    """A picture over a background: RGB, or a wide grey mode."""
    upright, full_size = _upright(file, needed_pixels)
    if upright.mode in WIDE_SCALES or upright.mode.startswith("I;16"):
        return upright, full_size
    if upright.has_transparency_data:
        page = Image.new("RGBA", upright.size, background)
        upright = Image.alpha_composite(page, upright.convert("RGBA"))
    return upright.convert("RGB"), full_size


def _upright(file: Readable, needed_pixels: int | None = None) -> Decoded:
    """A picture as the camera held it, in the file's own mode."""
    _check_pieces(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on odd but readable files
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(_source(file), formats=formats_of(file)) as picture:
            width, height = picture.size
            if isinstance(file, EncodedImage):
                file.check_pixels(width, height)
            if needed_pixels is not None:
                picture.draft(None, (needed_pixels, needed_pixels))
            picture.load()
            # Not exif_transpose: it also rewrites the EXIF block, which fails when a camera damaged it.
            turn = UPRIGHT.get(_orientation(picture, file))
            upright = picture.copy() if turn is None else picture.transpose(turn)
    return upright, (width, height) if turn in QUARTER_TURNS else (height, width)


def _from_wide(image: Image.Image, file: Readable) -> Tensor:
    """Grey with more than 8 bits a pixel ──► (3, H, W); Pillow's own conversion would cut the values off."""
    grey = torch.from_numpy(np.array(image).astype(np.float32)) / WIDE_SCALES.get(image.mode, 65535.0)
    if not bool(((grey >= 0) & (grey <= 1)).all()):
        raise V2LError(
            f"{file} holds values outside the range of its kind",
            "8 or 16 bits a channel, or floats in [0, 1]",
        )
    return grey.expand(3, -1, -1).contiguous()


def _from_pillow(image: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.array(image))  # (H, W, 3) uint8
    return pixels.permute(2, 0, 1).contiguous().float().div_(255)


def _to_pillow(image: Tensor) -> Image.Image:
    pixels = image.detach().cpu().float().clamp(0, 1).mul(255).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
