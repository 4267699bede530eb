"""What every verb needs: the group, exit codes, settings from the command line."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

import driftbell
from driftbell import jsonlog
from driftbell.config import settings as config
from driftbell.errors import DriftbellError
from driftbell.records import Judgement, Verdict

OK, DRIFT, USAGE, CANNOT_JUDGE = 0, 1, 2, 3
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - listened on, not called

F = TypeVar("F", bound=Callable[..., Any])


def exit_code(found: Judgement) -> int:
    """Give the exit code that tells what was found: 1 for an alarm and for drift."""
    if found.verdict is Verdict.ALARM or found.drifted_columns:
        return DRIFT
    return CANNOT_JUDGE if found.verdict is Verdict.UNKNOWN else OK


def main() -> NoReturn:
    """Run a command; every error that driftbell raises on purpose is one line on stderr and exit code 2."""
    jsonlog.configure(sys.stderr, level="WARNING")  # results go to stdout, talk does not
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except click.Abort:
        sys.exit(USAGE)
    except DriftbellError as error:
        click.echo(f"driftbell: {error}", err=True)
        sys.exit(USAGE)
    except BrokenPipeError:  # whoever read our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(USAGE)
    except Exception:  # noqa: BLE001 - never 1, which says drift
        traceback.print_exc()
        sys.exit(CANNOT_JUDGE)
    sys.exit(OK)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(driftbell.__version__, prog_name="driftbell")
def cli() -> None:
    """Serve a model or watch one, list what drifts, and ring when the model does worse.

    \b
    Start here:
      driftbell demo          see it work, nothing to set up
      driftbell up            serve and monitor with one command
      driftbell config        every setting and where its value comes from

    Exit codes: 0 fine, 1 drift, 2 usage or configuration error, 3 cannot judge.
    """


def common(command: F) -> F:
    """Add the options that every verb with settings has."""
    for option in (
        click.option("--parent", type=int, hidden=True, help="End when this process is gone."),
        click.option("--data-dir", help="Where log, models and reports are written."),
        click.option(
            "--config", "config_file", type=click.Path(path_type=Path), help="The TOML file (driftbell.toml)."
        ),
    ):
        command = option(command)
    return command


def settings(config_file: Path | None, **overrides: Any) -> config.LoadedSettings:
    """Load the settings, and put what the command line said where child processes find it."""
    given = {k.replace("__", "."): v for k, v in overrides.items() if v is not None}
    loaded = config.load(config_file, overrides=given)
    if config_file:
        os.environ[config.FILE_VARIABLE] = str(config_file.absolute())
    os.environ.update({config.environment_variable(name): str(value) for name, value in given.items()})
    return loaded


def service_url(of: config.Settings) -> str:
    """Name the service that the settings describe, as it is reached from here."""
    host = EVERYWHERE.get(of.server.host, of.server.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{of.server.port}"


def begin(parent: int | None) -> None:
    """Prepare a long-running process: JSON logs on stdout, and an end with its parent."""
    from driftbell.wiring.server import exit_with

    jsonlog.configure()
    if parent:
        exit_with(parent)
