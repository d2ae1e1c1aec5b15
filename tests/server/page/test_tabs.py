"""What each tab answers, without a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_words_tokenizer
import torch
from tiny_pipeline import tiny_pipeline, tiny_soft_pipeline

from v2l.datasets import Episode, LabelledImage
from v2l.errors import V2LError
from v2l.images import load_image
from v2l.pipeline.pipeline import Pipeline
from v2l.server.page.compare_tab import card, loader
from v2l.server.page.fewshot_tab import Pile, odds_html, one_more, pile_odds, read_piles, shares
from v2l.server.page.inpaint_tab import chosen_mask, editor_value
from v2l.server.page.page import TABS, build_page, refusal_of, stack_line
from v2l.server.page.words_tab import regions_html, words_html
from v2l.tasks.classification.fewshot import evaluate_fewshot


@pytest.fixture(scope="module")
def roomy() -> Pipeline:
    """A tiny pipeline whose LLM has room for many words."""
    return tiny_pipeline(context=4096)


@pytest.fixture(scope="module")
def quarters() -> tiny_words_tokenizer.QuarterTokenizer:
    return tiny_words_tokenizer.QuarterTokenizer()


@pytest.fixture(scope="module")
def boots(samples) -> torch.Tensor:
    return load_image(samples / "shoes" / "boots.jpg")


def test_words_stand_with_their_cosines(pipeline, boots):
    made = words_html(pipeline.tokenizer, boots, 3, "nearest")
    [best, *_] = pipeline.tokenizer.image_words(boots[None], 3).words[0]
    assert made.count("<li>") == 3
    assert f'<span class="value">{best.score:.2f}</span>' in made


def test_too_little_to_see_is_noted_beside_the_words(pipeline):
    assert "little to see" in words_html(pipeline.tokenizer, torch.zeros(3, 64, 64), 3, "nearest")


def test_regions_are_a_picture_whose_text_names_their_words(quarters, boots):
    made = regions_html(quarters, boots)
    assert "outlined regions: " in made
    assert "regions, each with its word." in made


def test_a_grid_has_its_cells_outlined(pipeline, boots):
    assert "8 × 8 cells, each one word of the LLM." in regions_html(pipeline.tokenizer, boots)


def test_piles_need_names_that_differ_and_photographs(samples):
    file = str(samples / "hat" / "straw.jpg")
    pile = [(file, None)]
    with pytest.raises(V2LError, match="pile 2 has photographs and no name"):
        read_piles(["hat", " "], [pile, pile])
    with pytest.raises(V2LError, match="at least two piles"):
        read_piles(["hat", "dress"], [pile, None])
    with pytest.raises(V2LError, match="too many photographs"):
        read_piles(["hat", "dress"], [pile * 50, pile])
    with pytest.raises(V2LError, match="the same name"):
        read_piles(["hat", "hat"], [pile, pile])
    assert [pile.name for pile in read_piles(["sun  hat", "dress", ""], [pile, pile, None])] == [
        "sun hat",
        "dress",
    ]


def test_odds_are_the_softmax_of_the_scores_of_the_task(roomy, samples):
    piles = [
        Pile(name, [str(samples / name / file)])
        for name, file in {"hat": "straw.jpg", "dress": "blue.jpg"}.items()
    ]
    odds = pile_odds(roomy, piles, load_image(samples / "hat" / "plaid.jpg"))
    assert odds.keys() == {"hat", "dress"}
    assert sum(odds.values()) == pytest.approx(1)
    assert list(odds.values()) == sorted(odds.values(), reverse=True)


def test_soft_tokens_decide_the_odds(samples):
    names = {"hat": "straw.jpg", "dress": "blue.jpg"}
    piles = [Pile(name, [str(samples / name / file)]) for name, file in names.items()]
    pipeline, query = tiny_soft_pipeline(), samples / "hat" / "plaid.jpg"
    shots = tuple(LabelledImage(Path(file), pile.name) for pile in piles for file in pile.files)
    episode = Episode(shots, LabelledImage(query, None))
    [prediction] = evaluate_fewshot(pipeline, [episode]).predictions
    assert pile_odds(pipeline, piles, load_image(query)) == pytest.approx(shares(prediction.scores))


def test_shares_are_a_softmax():
    found = shares({"hat": -1000.0, "dress": -999.0})
    assert list(found) == ["dress", "hat"]
    assert list(found.values()) == pytest.approx(torch.tensor([1.0, 0.0]).softmax(0).tolist())


def test_odds_are_written_against_the_next():
    assert "dress, 3.0 : 1 against hat" in odds_html({"dress": 0.75, "hat": 0.25})
    assert "dress, 19 : 1 against hat" in odds_html({"dress": 0.95, "hat": 0.05})
    assert "dress, over 1000 : 1 against hat" in odds_html({"dress": 1.0, "hat": 0.0})


def test_one_more_pile_is_shown_until_all_are():
    shown, button, *piles = one_more(2)
    assert shown == 3
    assert button["interactive"]
    assert [pile["visible"] for pile in piles] == [True, True, True, False, False] * 2
    assert not one_more(4)[1]["interactive"]


def test_the_hole_is_the_centre_or_what_was_brushed():
    assert chosen_mask((8, 8), [], "centre").sum() == 16
    with pytest.raises(V2LError, match="nothing is brushed"):
        chosen_mask((8, 8), [], "brushed")


def test_the_editor_shows_the_photograph_with_nothing_brushed():
    assert editor_value("a.png") == {"background": "a.png", "layers": [], "composite": None}
    assert editor_value(None) is None


def test_a_card_shows_what_its_tokenizer_gives(pipeline, boots):
    made = card("v2l", boots, loader(pipeline.tokenizer))
    assert "64 tokens: codes." in made
    assert "Reconstruction, PSNR" in made


def test_a_card_of_a_tokenizer_without_a_checkpoint_says_why(pipeline, boots):
    made = card(tiny_words_tokenizer.NAME, boots, loader(pipeline.tokenizer))
    assert "No checkpoint of the tokenizer" in made


def test_tabs_that_a_tokenizer_cannot_serve_say_why(quarters):
    refused = {tab.title: refusal_of(tab, quarters) for tab in TABS}
    assert [title for title, why in refused.items() if not why] == ["Words", "Ask", "Few-shot", "Compare"]
    assert refused["Reconstruct"].startswith(
        "Reconstruct needs a decoder, which the tokenizer 'tiny-quarters'"
    )


def test_a_page_of_any_tokenizer_is_built_without_loading_an_llm(quarters):
    pipeline = Pipeline(quarters, None)
    page = build_page(pipeline)
    assert "Inpaint needs a grid of codes" in str(page.get_config_file())
    assert "llm" not in vars(pipeline)


def test_the_head_names_tokenizer_and_llm_without_loading_it(quarters):
    assert stack_line(Pipeline(quarters, None), None) == "Tokenizer tiny-quarters · LLM none"


def test_the_head_names_a_model_in_a_folder_without_the_folder(quarters, monkeypatch):
    monkeypatch.setattr(Pipeline, "describe", lambda _: {"llm": "/home/somebody/models/smol"})
    assert stack_line(Pipeline(quarters, None), None).endswith("LLM smol")
