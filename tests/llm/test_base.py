"""Every language model can be used by its contract, without a test for its class."""

from __future__ import annotations

import pytest
from tiny_llm import tiny_llm

from v2l.llm import FrozenLLM, Generation, GenerationConfig, LanguageModel, LocalLanguageModel
from v2l.llm.chat import dialogue_prompt
from v2l.prompts import caption
from v2l.prompts.dialogue import Dialogue, Exchange, turn

CONFIG = GenerationConfig(4, ends=False)
TEMPLATE = "{% for turn in messages %}[{{ turn['role'] }}] {{ turn['content'] }}\n{% endfor %}[assistant]"


def dialogues(wording: str = "tuned") -> list[Dialogue]:
    examples = [Exchange(("boot",), answer="A boot.")]
    style = caption.STYLES[wording]
    return [caption.caption_dialogue(examples, (word,), style) for word in ("hat", "red dress")]


def with_template() -> FrozenLLM:
    llm = tiny_llm()
    llm.tokenizer.chat_template = TEMPLATE
    return llm


def test_a_local_llm_fulfils_both_contracts(llm: FrozenLLM) -> None:
    local: LocalLanguageModel = llm
    model: LanguageModel = local
    for contract in (LanguageModel, LocalLanguageModel):
        members = [name for name in vars(contract) if not name.startswith("_")]
        assert all(hasattr(model, name) for name in members)
    assert model.describe() == {"llm": "tiny", "llm_fingerprint": llm.fingerprint}


def test_answers_are_those_of_the_prompts(llm: FrozenLLM) -> None:
    prompts = [dialogue.prompt for dialogue in dialogues()]
    expected = [new.text.strip() for new in llm.generate(prompts, CONFIG)]
    assert llm.write_answers(dialogues(), CONFIG) == expected


@pytest.mark.parametrize(("wording", "in_turns"), [("tuned", True), ("paper", False)])
def test_a_chat_model_gets_turns_where_the_style_has_them(wording: str, in_turns: bool) -> None:
    llm = with_template()
    (first, _) = dialogues(wording)
    text = dialogue_prompt(llm, first).text(str)
    assert text.startswith("[user]") == in_turns
    assert text.endswith("[assistant]") == in_turns


def test_samples_have_seeds_of_their_own_and_repeat(llm: FrozenLLM) -> None:
    (dialogue, _) = dialogues()
    config = GenerationConfig(8, temperature=2.0, ends=False, seed=5)
    answers = llm.sample_answers(dialogue, config, 4)
    assert len(set(answers)) > 1
    assert answers == llm.sample_answers(dialogue, config, 4)
    assert answers[0] == llm.write_answers([dialogue], config)[0]
    assert llm.sample_answers(dialogue, config, 0) == []


def test_a_thought_is_no_part_of_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    llm = tiny_llm()
    monkeypatch.setattr(
        llm, "generate", lambda prompts, config: [Generation((), "<think>Is it red?</think> A hat", 0.0)]
    )
    (dialogue, _) = dialogues()
    assert llm.reply([turn("user", "a hat")], CONFIG) == " A hat"
    assert llm.write_answers([dialogue], CONFIG) == llm.sample_answers(dialogue, CONFIG, 1) == ["A hat"]


def test_a_reply_continues_the_template_or_the_lines(llm: FrozenLLM) -> None:
    turns = [turn("user", "a hat"), turn("assistant", "A hat"), turn("user", "a dress")]
    assert llm.reply(turns, CONFIG) == llm.generate(["a hat\nA hat\na dress"], CONFIG)[0].text
    chat = with_template()
    shown = "[user] a hat\n[assistant] A hat\n[user] a dress\n[assistant]"
    assert chat.reply(turns, CONFIG) == chat.generate([shown], CONFIG)[0].text
