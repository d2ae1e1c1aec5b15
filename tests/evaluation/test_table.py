"""Tables line up."""

from __future__ import annotations

from v2l.evaluation.table import markdown_table


def test_columns_line_up_with_figures_to_the_right() -> None:
    table = markdown_table(["method", "PSNR"], [["V2L", "24.1 dB"], ["WebP", "9 dB"]])
    assert table.splitlines() == [
        "| method |    PSNR |",
        "| :----- | ------: |",
        "| V2L    | 24.1 dB |",
        "| WebP   |    9 dB |",
    ]
