from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.core.yaml_tree import read_tree

BOMB = "a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\nd: [*c,*c,*c,*c]\n"


def problems(text: str) -> list[str]:
    return [str(problem) for problem in read_tree(text)[1]]


def test_every_value_knows_its_line():
    tree, found = read_tree("a: 1\nb:\n  - x\n  - {c: true}\n")
    assert not found
    assert tree.value["a"].line == 1
    assert [item.line for item in tree.value["b"].value] == [3, 4]


def test_a_plain_value_has_no_lines():
    assert read_tree("a: [1, 2.5, x, true, null, {b: ''}]")[0].plain() == {"a": [1, 2.5, "x", True, None, {"b": ""}]}


def test_an_empty_file_is_an_empty_map():
    assert read_tree("# nothing\n")[0].plain() == {}


@pytest.mark.parametrize(
    "text, line, words",
    [
        ("a: 1\nb: !!python/object/apply:os.system [id]\n", 2, "not allowed"),
        ("a: !!python/name:os.system x\n", 1, "not allowed"),
        ("x: 1\n\na: &b 1\n", 3, "anchors"),
        ("a: 1\n<<: {b: 1}\n", 2, "quote it"),
        ("a: 1\nb: 2\na: 3\n", 3, "already, in line 1"),
        ("a: 1\n\tb: 2\n", 2, ""),
        ("a: [1\n", 2, ""),
        ("a: 1\n---\nb: 2\n", 2, ""),
        ("a: 1\nb: \0\n", 2, "character"),
        ("a: 2020-01-01\n", 1, "quote it"),
        ("a: " + "9" * 5000, 1, "number"),
        ("1: a\n", 1, "quote it"),
        ("on: a\n", 1, "quote it"),
        ("[1, 2]: a\n", 1, "quote it"),
        ("[" * 100_000, 1, "deeper"),
        (BOMB, 1, "anchors"),
    ],
)
def test_f8_what_is_not_plain_yaml_is_refused_with_its_line(text, line, words):
    found = problems(text)
    assert found and found[0].startswith(f"{line}: ") and words in found[0]


def test_f8_problems_are_all_told_at_once():
    assert len(problems("a: 1\na: 2\nb: 2020-01-01\n3: x\n")) == 3


@given(st.text(alphabet="ab:&*!-[]{}#'\"|> \n\t0.?%@`", max_size=60))
def test_f8_no_text_makes_it_raise_and_every_problem_is_inside_it(text):
    _, found = read_tree(text)
    assert all(1 <= problem.line <= text.count("\n") + 1 for problem in found)
