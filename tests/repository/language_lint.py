"""Language lint: forbidden words and docstring openings, with the plain alternative for each."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

WORDS = {
    r"rings?|rang": "raise(s) an alarm",
    r"told": "reported, notified or given",
    r"(?-i:[Ww]hose)": "with, of, or a new sentence",
    r"heeds?": "applies",
    r"mends?|mended": "fix",
    r"harm": "degradation",
    r"loud": "alarm",
    r"lane": "fast path",
    r"ticks?": "micro-batch, or event-loop iteration",
    r"folds?|folded": "move(s) to the store",
    r"left behind": "remaining",
    r"so many of": "a count",
    r"plainly": "valid, or nothing",
}
FORBIDDEN = {re.compile(rf"\b(?:{word})\b", re.IGNORECASE): plain for word, plain in WORDS.items()}
FORBIDDEN[re.compile(r"(?:^|[.:;] |\"\"\"|(?<!#)# )(?:What|Whoever)\b(?![^?]*\?)")] = "a noun as the subject"
OPENINGS = re.compile(
    "(Gives?|Holds?|How|Lets?|Makes?|Puts?|Says?|So|Takes?|Tells?|That|Those|Wh(at|ere|ether|ich|o|oever|ose))\\b"
)
ALLOWED = {  # word by file: cross-validation, a JSON key of old releases, Loki's setting
    "src/driftbell/degradation/block_predictions.py": {"fold", "folds"},
    "src/driftbell/degradation/detector.py": {"folds"},
    "src/driftbell/degradation/reference_models.py": {"fold", "folds"},
    "src/driftbell/degradation/row_mix.py": {"fold", "folds"},
    "src/driftbell/degradation/soft_labels.py": {"fold", "folds"},
    "src/driftbell/store/migrations/versions/0005_names.py": {"harm"},
    "deploy/loki/loki-config.yaml": {"ring"},
}
OLD_NAMES = re.compile(r"^\| .* \| .* \| .* \|$")
"""Rows of the changelog's table of old and new names."""

PATHS = ("src", "docs", "deploy", "README.md", "CHANGELOG.md")
SUFFIXES = frozenset(
    {".py", ".md", ".html", ".j2", ".css", ".js", ".toml", ".yaml", ".yml", ".sh", ".conf", ".tpl"}
)


def word_problems(name: str, text: str) -> Iterator[str]:
    """Yield the forbidden words of a file, as `file:line: word → alternative`."""
    for number, line in enumerate(text.splitlines(), 1):
        if name == "CHANGELOG.md" and OLD_NAMES.match(line):
            continue
        for pattern, plain in FORBIDDEN.items():
            for match in pattern.finditer(line):
                word = match.group().strip(' ".#:;')
                if word.lower() not in ALLOWED.get(name, ()):
                    yield f"{name}:{number}: {word} → {plain}"


def docstring_problems(name: str, text: str) -> Iterator[str]:
    """Yield the docstrings of a Python file with a forbidden opening."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if opening := OPENINGS.match(ast.get_docstring(node) or ""):
            yield f"{name}:{getattr(node, 'lineno', 1)}: {opening[1]} → a verb such as Return, or a noun"


def main(root: Path) -> int:
    """Print the problems of all files, and return the exit code."""
    problems: list[str] = []
    for path in sorted(file for name in PATHS for file in (root / name, *(root / name).rglob("*"))):
        name = path.relative_to(root).as_posix()
        if path.suffix in SUFFIXES and path.is_file() and "/static/swagger/" not in name:
            text = path.read_text("utf-8")
            problems += word_problems(name, text)
            problems += docstring_problems(name, text) if name.endswith(".py") else ()
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parents[2]))
