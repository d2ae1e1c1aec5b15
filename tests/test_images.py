"""Every readable image is read as people see it; everything else gives one line."""

from __future__ import annotations

import io
import resource
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2 import functional as reference

from v2l.errors import V2LError
from v2l.images import (
    Skipped,
    centre_crop,
    load_image,
    load_images,
    resize_and_crop,
    resize_shorter,
    save_image,
)
from v2l.sources import find_images

ORIENTATIONS = {  # EXIF's number ──► how the upright picture is stored
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def picture(width: int = 7, height: int = 5) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def as_tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1) / 255


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm"])
def test_lossless_files_are_read_exactly(tmp_path: Path, suffix: str) -> None:
    image = load_image(saved(picture(), tmp_path / f"a.{suffix}"))
    assert image.dtype == torch.float32
    assert image.is_contiguous()
    assert torch.equal(image, as_tensor(picture()))


@pytest.mark.parametrize("suffix", ["jpg", "webp", "avif"])
def test_lossy_files_are_read_closely(tmp_path: Path, suffix: str) -> None:
    flat = Image.new("RGB", (16, 16), (200, 100, 50))
    assert (load_image(saved(flat, tmp_path / f"a.{suffix}")) - as_tensor(flat)).abs().max() < 0.03


def test_the_suffix_does_not_matter_for_reading(tmp_path: Path) -> None:
    picture().save(tmp_path / "misnamed.jpg", format="PNG")
    assert torch.equal(load_image(tmp_path / "misnamed.jpg"), as_tensor(picture()))


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_grey_bilevel_and_palette_files_become_rgb(tmp_path: Path, mode: str) -> None:
    image = picture().convert(mode)
    assert torch.equal(load_image(saved(image, tmp_path / "a.png")), as_tensor(image))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_exif_orientation_is_honoured(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = picture().transpose(ORIENTATIONS[orientation])
    assert torch.equal(load_image(saved(stored, tmp_path / "a.png", exif=exif)), as_tensor(picture()))


def test_a_damaged_exif_block_hides_neither_pixels_nor_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "x" * 40
    text, fractions = (struct.pack(">HHI", 0x010E, *kind) for kind in ((2, 41), (5, 5)))
    broken = exif.tobytes().replace(text, fractions)  # a text that claims to be fractions
    assert broken != exif.tobytes()
    stored = picture().transpose(ORIENTATIONS[6])
    assert torch.equal(load_image(saved(stored, tmp_path / "a.png", exif=broken)), as_tensor(picture()))


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (3, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (255, 0, 0, 0))
    image.putpixel((2, 0), (255, 0, 0, 51))
    expected = torch.tensor([[1.0, 0, 0], [1, 1, 1], [1, 0.8, 0.8]]).T[:, None]
    torch.testing.assert_close(load_image(saved(image, tmp_path / "a.png")), expected)


def test_grey_and_palette_transparency_are_laid_over_white(tmp_path: Path) -> None:
    grey = saved(Image.new("LA", (2, 2), (0, 0)), tmp_path / "grey.png")
    palette = saved(Image.new("P", (2, 2), 0), tmp_path / "palette.png", transparency=0)
    for path in (grey, palette):
        assert torch.equal(load_image(path), torch.ones(3, 2, 2))


def test_cmyk_is_read_as_colours(tmp_path: Path) -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # no cyan, full magenta and yellow: red
    red = load_image(saved(image, tmp_path / "a.jpg", quality=100)).mean(dim=(1, 2))
    torch.testing.assert_close(red, torch.tensor([1.0, 0, 0]), atol=0.03, rtol=0)


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_16_bit_grey_keeps_its_brightness(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    image = load_image(saved(Image.fromarray(values), tmp_path / f"a.{suffix}"))
    torch.testing.assert_close(image, torch.from_numpy(values / 65535).float().expand(3, 1, 4))


def test_float_tiff_in_range_is_read_and_out_of_range_refused(tmp_path: Path) -> None:
    values = np.array([[0.0, 0.25, 1.0]], dtype=np.float32)
    assert torch.equal(
        load_image(saved(Image.fromarray(values), tmp_path / "a.tiff")),
        torch.from_numpy(values).expand(3, 1, 3),
    )
    for bad in (1.5, -0.1, float("nan")):
        path = saved(Image.fromarray(np.array([[0.5, bad]], dtype=np.float32)), tmp_path / "bad.tiff")
        with pytest.raises(V2LError, match="outside the range"):
            load_image(path)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tiff"])
def test_an_animation_gives_its_first_frame(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(frames[0], tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **options)
    assert torch.equal(load_image(path), as_tensor(frames[0]))


def test_one_pixel_is_an_image(tmp_path: Path) -> None:
    image = load_image(saved(Image.new("RGB", (1, 1), "red"), tmp_path / "a.png"))
    assert image.flatten().tolist() == [1, 0, 0]
    assert torch.equal(resize_and_crop(image, 16), image.expand(3, 16, 16))


def enormous_png(path: Path, side: int) -> Path:
    """A few bytes that claim side × side pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 1000)
    chunks = [
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (header, data, b"IEND")
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return path


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_decompression_bomb_is_refused(tmp_path: Path, side: int) -> None:
    with pytest.raises(V2LError, match=r"bomb\.png is enormous.*at most 89 million pixels"):
        load_image(enormous_png(tmp_path / "bomb.png", side))


def test_what_is_no_image_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "drawing.eps").write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    )  # would start another program
    complaints = {
        "none.png": "there is no file",
        "n" * 300: "too long",
        ".": "is a folder",
        "empty.png": "is empty",
        "text.jpg": "is no image",
        "drawing.eps": "is no image",
    }
    for name, complaint in complaints.items():
        with pytest.raises(V2LError, match=complaint) as caught:
            load_image(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "bmp", "tiff", "avif"])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = saved(picture(64, 64), tmp_path / f"a.{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(V2LError, match=rf"a\.{suffix} is (truncated|no image)"):
        load_image(path)


@given(
    suffix=st.sampled_from(["jpeg", "png", "gif", "webp", "tiff"]),
    place=st.floats(0, 1, exclude_max=True),
    junk=st.binary(min_size=1, max_size=4),
)
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_give_an_image_or_one_line_and_nothing_else(
    suffix: str, place: float, junk: bytes
) -> None:
    buffer = io.BytesIO()
    picture(16, 16).save(buffer, format=suffix)
    content = bytearray(buffer.getvalue())
    start = int(place * len(content))
    content[start : start + len(junk)] = junk
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        path.write_bytes(content)
        try:
            image = load_image(path)
        except V2LError:
            return
    assert image.ndim == 3
    assert 0 <= image.min() <= image.max() <= 1


@given(
    suffix=st.sampled_from([".png", ".webp", ".bmp", ".tiff"]),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_lossless_formats_give_back_every_pixel(suffix: str, height: int, width: int, seed: int) -> None:
    image = torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed)) / 255
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        save_image(image, path)
        assert torch.equal(load_image(path), image)


def test_saving_rounds_and_keeps_within_range(tmp_path: Path) -> None:
    save_image(torch.tensor([-1.0, 0.4999, 2.0]).reshape(3, 1, 1), tmp_path / "A.PNG")
    assert (load_image(tmp_path / "A.PNG") * 255).flatten().tolist() == [0, 127, 255]


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    for name in ("a.xyz", "a"):
        with pytest.raises(V2LError, match=r"is no image format|no suffix"):
            save_image(torch.zeros(3, 2, 2), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_format_that_cannot_hold_the_picture_is_refused(tmp_path: Path) -> None:
    for name, side in (("a.webp", 16_384), ("a.jpg", 65_536)):
        with pytest.raises(V2LError, match=rf"cannot write {side} × 1 pixels"):
            save_image(torch.zeros(3, 1, side), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_picture(tmp_path: Path) -> None:
    save_image(torch.zeros(3, 2, 2), tmp_path / "a.bmp")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(V2LError, match=r"could not write .*a\.bmp"):
            save_image(torch.ones(3, 64, 64), tmp_path / "a.bmp")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert torch.equal(load_image(tmp_path / "a.bmp"), torch.zeros(3, 2, 2))
    assert [path.name for path in tmp_path.iterdir()] == ["a.bmp"]


@given(height=st.integers(1, 40), width=st.integers(1, 40), size=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_resize_and_crop_gives_a_square_in_range(height: int, width: int, size: int) -> None:
    image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))
    square = resize_and_crop(image, size)
    assert square.shape == (3, size, size)
    assert 0 <= square.min() <= square.max() <= 1
    assert min(resize_shorter(image, size).shape[1:]) == size


@pytest.mark.parametrize("shape", [(90, 60), (61, 150), (40, 40)])
def test_resize_and_crop_equals_torchvision(shape: tuple[int, int]) -> None:
    image = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    expected = reference.center_crop(
        reference.resize(image, [32], reference.InterpolationMode.BICUBIC, antialias=True), [32]
    ).clamp(0, 1)
    top_left = reference.resize(image, [32], reference.InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
    torch.testing.assert_close(resize_shorter(image, 32), top_left)
    odd = [(side - 32) % 2 for side in top_left.shape[-2:]]
    if odd == [0, 0]:  # torchvision rounds an odd border to the even side, ours always down
        torch.testing.assert_close(resize_and_crop(image, 32), expected)


def test_a_long_sliver_needs_no_more_memory_than_a_picture() -> None:
    image = torch.rand(3, 1, 100_000)
    assert resize_shorter(image, 64).shape == (3, 64, 256)
    assert resize_and_crop(image, 64).shape == (3, 64, 64)


def test_the_centre_is_in_the_middle() -> None:
    image = torch.arange(25).reshape(1, 5, 5)
    assert centre_crop(image, (1, 3)).flatten().tolist() == [11, 12, 13]
    assert centre_crop(image, (9, 9)) is not None
    assert torch.equal(centre_crop(image, (9, 9)), image)


def test_bad_files_are_skipped_counted_and_listed(tmp_path: Path) -> None:
    good = [saved(picture(), tmp_path / f"{name}.png") for name in "ac"]
    (tmp_path / "b.png").write_text("no image")
    skipped = Skipped()
    assert [path for path, _ in load_images(find_images(tmp_path), skipped)] == good
    assert len(skipped) == 1
    assert skipped.files[0][0] == tmp_path / "b.png"
    assert skipped.report().startswith("skipped 1 unreadable file(s):\n")
    assert "b.png is no image" in skipped.report()
    assert Skipped().report() == ""


def test_the_sample_photographs_are_read(samples: Path) -> None:
    paths = find_images(samples)
    skipped = Skipped()
    images = [image for _, image in load_images(paths, skipped)]
    assert len(images) == len(paths) >= 12
    assert len(skipped) == 0
    assert all(image.std() > 0.05 for image in images)
