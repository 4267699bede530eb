from pathlib import Path

import pytest
from tests.repository.language_lint import docstring_problems, main, word_problems


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("src/driftbell/a.py", "x = 1  # it rings\n", "rings"),
        ("docs/guides/a.md", "You are told once.\n", "told"),
        ("README.md", "What is served stays.\n", "What"),
        ("CHANGELOG.md", "- The fast lane is new.\n", "lane"),
        ("deploy/prometheus/rules/a.yaml", "summary: a model whose labels stopped\n", "whose"),
    ],
)
def test_a_forbidden_word_is_reported_in_each_kind_of_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, word: str
) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    assert main(tmp_path) == 1
    assert capsys.readouterr().out.startswith(f"{name}:1: {word} → ")


def test_plain_words_pass() -> None:
    text = "A harmless change, a string, a threefold gain, a StratifiedKFold. What is driftbell? A monitor."
    assert list(word_problems("docs/index.md", text)) == []
    assert list(word_problems("CHANGELOG.md", "| metric | `driftbell_harm` | `harm` → `degradation` |")) == []
    assert list(word_problems("src/driftbell/degradation/detector.py", "FOLDS = 2")) == []


@pytest.mark.parametrize("opening", ["Give", "Tell", "What", "Whether", "Take"])
def test_a_docstring_with_a_forbidden_opening_is_reported(opening: str) -> None:
    text = f'def f():\n    """{opening} it is."""\n\n\nclass A:\n    """Return it."""\n'
    assert list(docstring_problems("a.py", text)) == [f"a.py:1: {opening} → a verb such as Return, or a noun"]
