"""v2l demo: the whole line on any folder of photographs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from v2l.cli.demo import one_of_each_folder
from v2l.images import load_image

Run = Callable[..., Result]


@pytest.mark.embedded
def test_words_classification_and_pictures(run: Run, samples: Path, tmp_path: Path) -> None:
    result = run("demo", samples, "-o", tmp_path, "--count", 1, "--json")
    named, classified, inpainted = (json.loads(line) for line in result.stdout.splitlines())
    assert named["words"]
    assert classified["n"] == 6
    assert inpainted["told"] > 0
    assert load_image(inpainted["output"]).shape[0] == 3
    assert len(list(tmp_path.glob("*-inpainted.png"))) == 1


def test_one_photograph_of_each_folder_comes_first() -> None:
    paths = [Path(name) for name in ("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg")]
    assert one_of_each_folder(paths, 3) == [Path("a/1.jpg"), Path("b/1.jpg"), Path("a/2.jpg")]
    assert one_of_each_folder(paths, 1) == [Path("a/1.jpg")]
