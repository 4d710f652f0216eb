"""What docs/adding-a-door.md shows is the code itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HOME = Path(__file__).parents[2]
BLOCKS = re.findall(r"```python\n# (\S+)\n(.*?)```", (HOME / "docs" / "adding-a-door.md").read_text(), re.DOTALL)


@pytest.mark.parametrize(("path", "shown"), BLOCKS)
def test_the_page_quotes_the_code_as_it_is(path: str, shown: str) -> None:
    assert shown in (HOME / path).read_text()


def test_there_is_something_to_quote() -> None:
    assert len(BLOCKS) >= 5
