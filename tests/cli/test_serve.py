"""v2l serve: mistakes are one line, before any model is loaded; the embedded LLM answers as v2l vqa does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from served import chat, data_url, image_part, text_part
from typer.testing import CliRunner

import v2l
from v2l.cli.app import app


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--host", "0.0.0.0"], "no key"),
        (["--api-key", "two words"], "malformed API key"),
        (["--upstream-model", "llama3"], "without a server"),
        (["--upstream", "localhost:11434"], "an http or https address"),
        (["--upstream", "http://example.org/v1", "--upstream-model", "a", "--offline"], "offline"),
        (["--upstream", "http://127.0.0.1:9/v1"], "cannot be reached"),
        (["--allow-host", "http://example.org/"], "--allow-host"),
        (["--tokenizer", "no-such-tokenizer"], "no-such-tokenizer"),
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_line(args: list[str], words: str) -> None:
    answer = CliRunner().invoke(app, ["serve", "--port", "0", *args])
    assert answer.exit_code == 1
    assert words in answer.stderr.splitlines()[-1]
    assert "Traceback" not in answer.output


@pytest.mark.embedded
def test_the_embedded_llm_answers_as_v2l_vqa(samples: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "v2l", "serve", "--port", "0", "--offline"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "V2L_API_KEY": "sk-test"},
    )
    try:
        assert process.stdout
        line = process.stdout.readline()
        match = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert match, line
        photograph = samples / "shoes" / "boots.jpg"
        for question in ("What is it?", "Is it an animal?"):
            body = chat(image_part(data_url(photograph)), text_part(question))
            headers = {"Authorization": "Bearer sk-test"}
            url = f"{match.group()}/v1/chat/completions"
            answer = httpx.post(url, json=body, headers=headers, timeout=120).json()
            assert answer["choices"][0]["message"]["content"] == v2l.vqa(photograph, question).text
        assert httpx.post(url, json=body).status_code == 401
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
