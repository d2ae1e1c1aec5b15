"""image file ⇄ image (3, H, W): float32 RGB in [0, 1].

Opening is safe: only bitmap formats that Pillow decodes by itself, never more pixels than
`Image.MAX_IMAGE_PIXELS`. Cameras' orientation (EXIF) is honoured, animations give their first frame,
transparency is laid over white.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

from v2l.archives import LeftOutWarning
from v2l.errors import V2LError
from v2l.files import write_file
from v2l.pieces import MOST_PIECES, has_too_many_pieces
from v2l.sources import ImageFile, image_bytes, image_size


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


def load_image(file: str | Readable, background: str = "white") -> Tensor:
    """Read an image file of any common kind, or an image inside an archive: (3, H, W) float32 RGB in [0, 1].

    Args:
        file: the image.
        background: colour that shows where it is transparent.

    Raises:
        V2LError: the file is missing, empty, truncated, too large, or no image.
    """
    return _read(Path(file) if isinstance(file, str) else file, background)[0]


def may_pass(error: V2LError) -> bool:
    """True for an error of `load_image` that says nothing of the file, and so must not be kept for it.

    The system refused to read (too many open files, no permission, a lost disk), or memory ran out.
    """
    cause = error.__cause__
    return isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno is not None)


def image_if_readable(file: Readable) -> Tensor | None:
    """As `load_image`, for what is kept about a file: None if it is not a readable image.

    Raises:
        V2LError: the system refused to read it, or memory ran out; so the file may be a readable image.
    """
    try:
        return load_image(file)
    except V2LError as error:
        if may_pass(error):
            raise
        return None


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
    to_pillow(image).save(encoded, **options)
    return encoded.getvalue()


def decode_image(content: bytes) -> Tensor:
    """What `encode_image` gave ──► (3, H, W) float32 in [0, 1]."""
    with Image.open(BytesIO(content), formats=FORMATS) as picture:
        return from_pillow(picture.convert("RGB"))


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
        transforms.resize(to_pillow(image), [CLIP_SIZE], interpolation=InterpolationMode.BICUBIC)
        for image in images
    ]
    seen = torch.stack(
        [from_pillow(transforms.center_crop(image, [CLIP_SIZE, CLIP_SIZE])) for image in resized]
    )
    return interpolate(seen.to(images.device), size=(size, size), mode="bilinear", align_corners=False)


def centre_crop(images: Tensor, size: tuple[int, int]) -> Tensor:
    """The centre of images (..., H, W), at most `size` = (height, width)."""
    height, width = (min(side, limit) for side, limit in zip(images.shape[-2:], size, strict=True))
    top, left = (images.shape[-2] - height) // 2, (images.shape[-1] - width) // 2
    return images[..., top : top + height, left : left + width]


def opacity(file: Readable) -> Tensor:
    """How opaque a picture is: (H, W) uint8, from 0 to 255.

    Raises:
        V2LError: as `load_image`.
    """
    picture, _ = _opened(file, lambda: _upright(file))
    if not picture.has_transparency_data:
        return torch.full((picture.height, picture.width), 255, dtype=torch.uint8)
    return torch.from_numpy(np.array(picture.convert("RGBA").getchannel("A")))


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


Decoded = tuple[Image.Image, tuple[int, int]]
"""A picture and its full size (height, width), which is larger where a JPEG was decoded smaller."""


def _read(
    file: Readable, background: str, needed_pixels: int | None = None
) -> tuple[Tensor, tuple[int, int]]:
    """(3, H, W) in [0, 1] and the full size; a fault in making the tensor is no fault of the file."""
    picture, full_size = _opened(file, lambda: _decode(file, background, needed_pixels))
    image = from_pillow(picture) if picture.mode == "RGB" else _from_wide(picture, file)
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


def from_pillow(image: Image.Image) -> Tensor:
    """An RGB picture of Pillow ──► (3, H, W) float32 in [0, 1]."""
    pixels = torch.from_numpy(np.array(image))  # (H, W, 3) uint8
    return pixels.permute(2, 0, 1).contiguous().float().div_(255)


def to_pillow(image: Tensor) -> Image.Image:
    """(3, H, W) in [0, 1], on any device ──► an RGB picture of Pillow in 8 bits a channel."""
    pixels = image.detach().cpu().float().clamp(0, 1).mul(255).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
