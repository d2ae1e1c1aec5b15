"""A prompt is its pieces: text, token ids, and embeddings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from v2l.errors import V2LError
from v2l.prompts import Embeddings, Prompt, refuse_embeddings
from v2l.prompts.caption import STYLES, caption_dialogue
from v2l.prompts.dialogue import Exchange

VECTORS = np.arange(12.0).reshape(3, 4)


def show(ids: tuple[int, ...]) -> str:
    return "".join(f"<{i}>" for i in ids)


def test_prompts_add_and_read_as_text() -> None:
    prompt = Prompt(("a ",)) + Prompt(((1, 2), " c"))
    assert prompt.pieces == ("a ", (1, 2), " c")
    assert prompt.text(show) == "a <1><2> c"


def test_embeddings_read_as_their_number_and_name() -> None:
    prompt = Prompt(("A", Embeddings(VECTORS), " and", Embeddings(VECTORS[:1], "region"), (7,)))
    assert prompt.text(show) == "A<3 image embeddings> and<1 region embedding><7>"
    assert [len(piece) for piece in prompt.embeddings] == [3, 1]


@pytest.mark.parametrize("array", [VECTORS, torch.from_numpy(VECTORS)])
def test_embeddings_are_equal_by_value_and_name(array: object) -> None:
    piece = Embeddings(array)
    assert piece == Embeddings(array) == Embeddings(array + 0)
    assert hash(piece) == hash(Embeddings(array + 1))
    assert piece not in (Embeddings(array + 1), Embeddings(array[:2]), Embeddings(array, "region"), (1, 2))
    assert Prompt((piece, "a")) == Prompt((Embeddings(array + 0), "a"))


def test_arrays_of_two_libraries_are_not_equal() -> None:
    assert Embeddings(VECTORS) != Embeddings(torch.from_numpy(VECTORS).to("meta"))


@pytest.mark.parametrize("values", [np.zeros(4), np.zeros((0, 4)), np.zeros((1, 2, 4)), [[0.0]]])
def test_other_shapes_are_refused(values: object) -> None:
    with pytest.raises(V2LError, match=r"got image embeddings of .*allowed: an array of shape \(N, width\)"):
        Embeddings(values)


def test_a_reader_of_text_refuses_embeddings_in_one_line() -> None:
    refuse_embeddings(Prompt(("a", (1,))), "the server")
    with pytest.raises(V2LError, match=r"the server takes no embeddings, .*<3 image embeddings>") as raised:
        refuse_embeddings(Prompt(("a", Embeddings(VECTORS))), "the server")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("wording", ["paper", "tuned"])
def test_a_dialogue_has_embeddings_in_the_place_of_words(wording: str) -> None:
    image, other = Embeddings(VECTORS), Embeddings(VECTORS + 1)
    style = STYLES[wording]
    by_words = caption_dialogue([Exchange(("boot",), answer="A boot.")], ["hat"], style).prompt
    dialogue = caption_dialogue([Exchange(other, answer="A boot.")], image, style)
    pieces = dialogue.prompt.pieces
    assert dialogue.prompt.embeddings == (other, image)
    assert not any(isinstance(piece, str) and piece.endswith(" ") for piece in pieces)
    shown = dialogue.prompt.text(show)
    assert shown.replace("<3 image embeddings>", " boot", 1).replace("<3 image embeddings>", " hat") == (
        by_words.text(show)
    )
    with pytest.raises(V2LError, match="a chat takes no embeddings"):
        _ = dialogue.turns
