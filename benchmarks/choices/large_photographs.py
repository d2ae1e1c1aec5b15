"""class folders + photographs ──► class folders of large photographs that show each image small.

    python benchmarks/choices/large_photographs.py caltech101 -o FOLDER --scenes bsds500/train bsds500/test

What `uhd` reads in slices, and other adapters in one square. These read the centre square of a photograph; for a fair
comparison each photograph is written once more to FOLDER-squeezed, whole: squeezed to the square that the embedded
encoder reads, with a frame of the border's pixels that its own crop takes away. Each image of some classes is pasted into a
photograph of 768 × 512 or 512 × 768 pixels, as an ellipse with a soft edge. Files keep their names, so the parts
@train and @eval stay what they are; scenes of the first place are for the train part, of the second for the eval
part. The same seed gives the same pixels.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from random import Random

from torch import Tensor
from torch.nn.functional import pad

from v2l.datasets import ClassFolder
from v2l.encoders.conse import CROP, RESIZE
from v2l.image_sets import paste
from v2l.images import load_image, resize, save_image
from v2l.sources import ImageFile, Part, find_images

LONG, SHORT = 768, 512  # pixels a side of a photograph
SMALLEST, LARGEST = 150, 220  # pixels a side of what is pasted


def draw_box(size: tuple[int, int], random: Random) -> tuple[int, int, int, int]:
    """A square (left, top, right, bottom) in pixels inside an image of (H, W)."""
    side = random.randint(SMALLEST, LARGEST)
    left, top = random.randrange(size[1] - side + 1), random.randrange(size[0] - side + 1)
    return left, top, left + side, top + side


def squeezed(image: Tensor) -> Tensor:
    """An image (3, H, W), of which the encoder's crop leaves all: (3, RESIZE, RESIZE)."""
    frame = (RESIZE - CROP) // 2
    return pad(resize(image, (CROP, CROP))[None], [frame] * 4, mode="replicate")[0]


def write_part(
    source: ClassFolder, scenes: Sequence[ImageFile], names: Sequence[str], target: Path, seed: int
) -> int:
    """Write the photographs of some classes; how many."""
    files = [(name, file) for name in names for file in source.classes[name]]
    for name, file in files:
        random = Random(f"{seed}/{name}/{file.name}")
        scene = load_image(random.choice(scenes))
        size = (SHORT, LONG) if scene.shape[-1] >= scene.shape[-2] else (LONG, SHORT)
        pasted = paste(resize(scene, size), load_image(file), draw_box(size, random))
        for root, image in (
            (target, pasted),
            (target.with_name(f"{target.name}-squeezed"), squeezed(pasted)),
        ):
            folder = root / name.replace(" ", "_")
            folder.mkdir(parents=True, exist_ok=True)
            save_image(image, folder / file.name)
    return len(files)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="one folder a class")
    parser.add_argument("--scenes", nargs=2, required=True, help="photographs for @train and for @eval")
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    names = sorted(Random(given.seed).sample(sorted(ClassFolder.load(given.folder).classes), given.classes))
    parts: tuple[Part, Part] = ("train", "eval")
    for part, place in zip(parts, given.scenes, strict=True):
        source = ClassFolder.load(given.folder, part)
        count = write_part(source, find_images(place), names, given.output, given.seed)
        print(f"{count} photographs of the {part} part")


if __name__ == "__main__":
    main()
