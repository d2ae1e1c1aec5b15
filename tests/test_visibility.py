"""An image with too little to see gets a note with the reason; an ordinary one gets none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw
from tiny_encoder import tiny_encoder
from tiny_words_tokenizer import QuarterTokenizer
from torch import Tensor

from v2l import visibility_note
from v2l.api import caption, vqa
from v2l.images import load_image, save_image
from v2l.pipeline.image_words import WordSelection, read_image_words, words_of_images
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.description.describe import Describer, DescribeSettings
from v2l.tokenizers.contract import ImageTokenizer
from v2l.visibility import MIN_DETAIL, detail_of, measure_visibility

SIZE = "at least 8 × 8 are needed"
SHAPE = "at most 8:1 is needed"
CONTENT = "one colour or an even gradient"


def even(height: int, width: int, colour: tuple[float, float, float] = (0.2, 0.4, 0.8)) -> Tensor:
    """An image of one colour."""
    return torch.tensor(colour)[:, None, None].expand(3, height, width).contiguous()


def random(height: int, width: int) -> Tensor:
    """Random pixels."""
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))


def with_noise(deviation: float) -> Tensor:
    """One colour with noise of this standard deviation, of 255."""
    noise = torch.randn(3, 200, 300, generator=torch.Generator().manual_seed(0))
    return (even(200, 300) + noise * deviation / 255).clamp(0, 1)


def gradient(height: int = 90, width: int = 120) -> Tensor:
    """An even gradient along both sides."""
    down, right = torch.linspace(0, 0.4, height)[:, None], torch.linspace(0, 0.6, width)
    return (down + right).expand(3, height, width).contiguous()


def drawing(size: int = 300, width: int = 1) -> Tensor:
    """A thin ring on a white sheet."""
    sheet = Image.new("RGB", (size, size), "white")
    ImageDraw.Draw(sheet).ellipse(
        (size * 0.4, size * 0.4, size * 0.6, size * 0.6), outline="black", width=width
    )
    return torch.tensor(list(sheet.getdata())).reshape(size, size, 3).permute(2, 0, 1).float() / 255


LITTLE: dict[str, tuple[Tensor, str]] = {
    "1 x 1": (even(1, 1), SIZE),
    "5000 x 3": (random(3, 5000), SIZE),
    "3 x 5000": (random(5000, 3), SIZE),
    "7 x 100": (random(7, 50), SIZE),
    "20 x 161": (random(20, 161), SHAPE),
    "161 x 20": (random(161, 20), SHAPE),
    "one colour": (even(200, 300), CONTENT),
    "black": (torch.zeros(3, 64, 64), CONTENT),
    "one colour with faint noise": (with_noise(2), CONTENT),
    "an even gradient": (gradient(), CONTENT),
}
ENOUGH: dict[str, Tensor] = {
    "8 x 8": random(8, 8),
    "8 : 1": random(20, 160),
    "noise that is seen": with_noise(12),
    "a thin drawing": drawing(),
    "an icon": drawing(16),
}


@pytest.mark.parametrize("name", LITTLE)
def test_too_little_to_see_is_noted_with_what_is_needed(name: str) -> None:
    image, reason = LITTLE[name]
    note = measure_visibility(image, image).note
    assert note is not None
    assert note.startswith("little to see: ")
    assert reason in note
    assert note.endswith("; the words are a guess")
    assert "\n" not in note
    if reason != CONTENT:
        assert f"{image.shape[2]} × {image.shape[1]} pixels" in note


@pytest.mark.parametrize("name", ENOUGH)
def test_an_ordinary_image_gets_no_note(name: str) -> None:
    assert measure_visibility(ENOUGH[name], ENOUGH[name]).note is None


def test_no_sample_photograph_gets_a_note(pipeline: Pipeline, samples: Path) -> None:
    notes = [pipeline.tokenizer.visibility_note(load_image(path)) for path in samples.rglob("*.jpg")]
    assert len(notes) == 16
    assert set(notes) == {None}


def test_detail_is_the_share_of_pixels_off_the_gradient() -> None:
    image = gradient(50, 100)
    assert detail_of(image) == 0
    image[0, 10:15, 20:30] += 0.3  # one channel is enough
    assert detail_of(image) == pytest.approx(50 / 5000)
    assert detail_of(image[:, :1, :1]) == detail_of(image[:, :1]) == detail_of(image[:, :, :1]) == 0
    dot = even(260, 260)
    dot[:, 0, :6] = 1
    assert detail_of(dot) < MIN_DETAIL
    dot[:, 0, :7] = 1
    assert detail_of(dot) >= MIN_DETAIL


def test_the_content_is_judged_by_what_the_encoder_sees(pipeline: Pipeline, tmp_path: Path) -> None:
    image = even(100, 300)
    image[:, :, :90] = random(100, 90)  # outside of the central square
    assert measure_visibility(image, image).note is None
    assert CONTENT in (pipeline.tokenizer.visibility_note(image) or "")
    encoder = tiny_encoder(tmp_path / "clip")
    assert detail_of(encoder.prepare(image)) == 0
    assert QuarterTokenizer().visibility_note(image) is None  # its words come from the whole image


def test_a_transparent_image_is_judged_as_it_is_read(pipeline: Pipeline, tmp_path: Path) -> None:
    picture = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    picture.save(tmp_path / "empty.png")
    ImageDraw.Draw(picture).ellipse((16, 16, 48, 48), fill="white")
    picture.save(tmp_path / "white.png")
    ImageDraw.Draw(picture).ellipse((16, 16, 48, 48), fill="black")
    picture.save(tmp_path / "black.png")
    notes = {
        name: visibility_note(tmp_path / f"{name}.png", pipeline) for name in ("empty", "white", "black")
    }
    assert CONTENT in str(notes["empty"])
    assert CONTENT in str(notes["white"])
    assert notes["black"] is None


Read = Callable[[ImageTokenizer, list[Path]], list[str | None]]


def from_files(tokenizer: ImageTokenizer, paths: list[Path]) -> list[str | None]:
    """The notes of files, as few-shot classification reads them."""
    return [image.note for image in read_image_words(tokenizer, paths, WordSelection(2, "nearest")).values()]


def from_images(tokenizer: ImageTokenizer, paths: list[Path]) -> list[str | None]:
    """The notes of loaded images, as captions and answers read them."""
    images = [load_image(path) for path in paths]
    return [image.note for image in words_of_images(tokenizer, images, WordSelection(2, "nearest"))]


@pytest.mark.parametrize("read", [from_files, from_images])
def test_each_image_has_its_own_note_by_any_tokenizer(
    read: Read, pipeline: Pipeline, samples: Path, tmp_path: Path, own_cache: None
) -> None:
    for name, image in (("a", even(1, 1)), ("b", even(90, 90)), ("c", random(30, 400))):
        save_image(image, tmp_path / f"{name}.png")
    paths = [tmp_path / "a.png", samples / "hat" / "straw.jpg", tmp_path / "b.png", tmp_path / "c.png"]
    tokenizers: list[ImageTokenizer] = [pipeline.tokenizer, QuarterTokenizer()]
    for tokenizer in tokenizers:
        for _ in range(2):  # the second time from the cache
            one, none, colour, long = read(tokenizer, paths)
            assert SIZE in str(one)
            assert none is None
            assert CONTENT in str(colour)
            assert SHAPE in str(long)


def test_notes_are_kept_with_the_vectors(
    pipeline: Pipeline, tmp_path: Path, own_cache: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_image(even(90, 70), tmp_path / "a.png")
    first = from_files(pipeline.tokenizer, [tmp_path / "a.png"])
    monkeypatch.setattr(
        "v2l.pipeline.image_words.encode_files", lambda *_: pytest.fail("it was encoded again")
    )
    assert from_files(pipeline.tokenizer, [tmp_path / "a.png"]) == first
    assert CONTENT in str(first[0])


def test_captions_and_answers_carry_the_note(pipeline: Pipeline, samples: Path) -> None:
    few = DescribeSettings(n_words=2, n_examples=0)
    assert CONTENT in str(caption(even(50, 50), few, pipeline).note)
    assert CONTENT in str(vqa(even(50, 50), "What is it?", few, pipeline).note)
    assert caption(samples / "hat" / "straw.jpg", few, pipeline).note is None


def test_examples_of_ones_own_are_judged_too(pipeline: Pipeline, samples: Path, tmp_path: Path) -> None:
    save_image(even(90, 70), tmp_path / "blue.png")
    examples = [
        {"caption": "A hat", "image": str(samples / "hat" / "straw.jpg")},
        {"caption": "The sky", "image": str(tmp_path / "blue.png")},
        {"caption": "A dog", "words": ["dog"]},
    ]
    (tmp_path / "mine.json").write_text(json.dumps(examples), encoding="utf-8")
    remark = Describer(pipeline, "caption", DescribeSettings(examples=tmp_path / "mine.json")).remark()
    assert remark is not None
    (line,) = remark.splitlines()
    assert line.startswith(f"{tmp_path / 'blue.png'}: little to see: ")
