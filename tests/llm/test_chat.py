"""Turns are written as the LLM's own tokenizer wants them, and begin once."""

from __future__ import annotations

import pytest
from tiny_llm import tiny_llm

from v2l.errors import V2LError
from v2l.llm.chat import chat_prompt

TURNS = [
    {"role": "user", "content": "a hat"},
    {"role": "assistant", "content": "A hat"},
    {"role": "user", "content": "a dress"},
]
TEMPLATE = (
    "{{ bos_token }}{% for turn in messages %}[{{ turn['role'] }}] {{ turn['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def test_an_llm_without_roles_has_no_chat() -> None:
    assert chat_prompt(tiny_llm(), TURNS) is None


def test_the_template_writes_the_turns_and_the_start_comes_once() -> None:
    llm = tiny_llm(sentence=True)
    llm.tokenizer.chat_template = TEMPLATE
    prompt = chat_prompt(llm, TURNS)
    assert prompt.pieces == ("[user] a hat\n[assistant] A hat\n[user] a dress\n[assistant]",)
    assert llm.encode(prompt).count(llm.tokenizer.bos_token_id) == 1


def test_an_llm_that_may_think_is_asked_not_to() -> None:
    llm = tiny_llm()
    llm.tokenizer.chat_template = (
        TEMPLATE + "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>{% endif %}"
    )
    assert chat_prompt(llm, TURNS).text(str).endswith("[assistant]<think>\n\n</think>")


def test_turns_that_the_template_refuses_are_one_line() -> None:
    llm = tiny_llm()
    llm.tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(
        V2LError, match=r"template of 'tiny' refuses the turns \(roles must alternate\); allow"
    ):
        chat_prompt(llm, TURNS)
