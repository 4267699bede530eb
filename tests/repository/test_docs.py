"""Documents agree with the code: every setting, command, metric and public name, and examples that run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import click
import pytest

import driftbell
from driftbell.cli import cli
from driftbell.cli.root import COMMANDS
from driftbell.config import settings as config
from driftbell.config.settings import setting_descriptions

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
DOCS = "\n".join(p.read_text("utf-8") for p in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))])


def settings_table() -> str:
    values = config.setting_values(config.Settings())
    shown = {
        n: "–" if v is None else f"`{str(v).lower() if isinstance(v, bool) else v}`"
        for n, v in values.items()
    }
    return "\n".join(
        f"| `{name}` | {shown[name]} | {text.rstrip('.')} |" for name, text in setting_descriptions().items()
    )


def test_readme_has_every_setting_with_its_default() -> None:
    assert settings_table() in README


def test_reference_names_every_command() -> None:
    reference = (ROOT / "docs/reference/cli.md").read_text("utf-8")
    for name in COMMANDS:
        assert f"driftbell {name}" in reference, name


def test_reference_names_every_public_name() -> None:
    reference = (ROOT / "docs/reference/python.md").read_text("utf-8")
    for name in driftbell.__all__:
        assert f"::: driftbell.{name}\n" in reference, name


def test_site_lists_every_page() -> None:
    site = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]
    pages = {str(p.relative_to(ROOT / "docs")) for p in (ROOT / "docs").rglob("*.md")}
    assert set(re.findall(r"[\w/-]+\.md", str(site["nav"]))) == pages


def test_every_command_has_help_with_an_example() -> None:
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None, name
        assert "Example" in (command.help or ""), name


def test_documents_name_every_metric() -> None:
    for source in ("server/http/metrics.py", "publish/prometheus.py"):
        text = (ROOT / "src/driftbell" / source).read_text("utf-8")
        names = set(re.findall(r'"(driftbell_[a-z_]+)"', text))
        assert len(names) > 8, source
        for name in names:
            assert name in DOCS, name


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_python_examples_of_the_readme_run(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, "README", "exec"), {})
    assert "age" in capsys.readouterr().out


@pytest.mark.parametrize("text", re.findall(r"```toml\n(.*?)```", README, re.DOTALL))
def test_toml_examples_of_the_readme_are_valid_settings(text: str, tmp_path: Path) -> None:
    file = tmp_path / "driftbell.toml"
    file.write_text(text, "utf-8")
    assert config.load(file, environment={}).settings.data_dir
    assert tomllib.loads(text)


def test_links_between_documents_lead_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


@pytest.mark.parametrize("program", sorted(p.name for p in (ROOT / "bench").glob("*.py")))
def test_every_benchmark_runs_on_tiny_data_in_ci(program: str) -> None:
    source = (ROOT / "bench" / program).read_text("utf-8")
    assert 'add_argument("--tiny"' in source


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
@pytest.mark.parametrize("guide", ["existing-services.md", "scheduled-checks.md", "your-model.md"])
def test_each_way_to_begin_is_linked_where_a_newcomer_looks(page: str, guide: str) -> None:
    assert f"guides/{guide})" in (ROOT / page).read_text("utf-8")
