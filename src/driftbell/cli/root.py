"""The root command: exit codes, error handling and options shared by all commands."""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

import driftbell
from driftbell.errors import DriftbellError, MissingExtraError, MissingModuleError
from driftbell.hidden_values import values_are_hidden
from driftbell.phrases import join_names, network_address

if TYPE_CHECKING:
    from driftbell.config import settings as config
    from driftbell.records import Judgement

EXIT_OK, EXIT_DRIFT, EXIT_USAGE, EXIT_UNKNOWN = 0, 1, 2, 3
EXIT_INTERRUPTED = 128 + signal.SIGINT
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - a server listens on them, a client cannot
SERVE_PACKAGES = frozenset(
    {
        "alembic",
        "fastapi",
        "httptools",
        "httpx",
        "prometheus_client",
        "skops",
        "sqlalchemy",
        "stamina",
        "starlette",
        "uvicorn",
        "uvloop",
    }
)
"""Import names of the packages that the extra `serve` installs."""

COMMANDS = {
    "alarms": "alarms",
    "backtest": "backtest",
    "backup": "ops",
    "certs": "certs",
    "check": "check",
    "config": "check",
    "db": "database",
    "demo": "run",
    "doctor": "ops",
    "gate": "gate",
    "grafana": "grafana",
    "import": "imports",
    "init": "init",
    "keys": "keys",
    "labels": "labels",
    "metrics": "metrics",
    "models": "models",
    "monitor": "run",
    "notify": "notify",
    "profile": "profile",
    "proxy": "proxy",
    "rehearse": "backtest",
    "report": "check",
    "restore": "ops",
    "serve": "run",
    "simulate": "run",
    "up": "run",
}
"""Module of each command in `driftbell.cli`, which adds the command to the root command."""

F = TypeVar("F", bound=Callable[..., Any])


class _ReaderGoneError(Exception):
    """The reader of stdout, such as `head`, has ended."""


class _RootGroup(click.Group):
    """Command group that imports a command on first use, and names the extra that a command lacks."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; import all for an unknown name, since click suggests one of them."""
        for module in [COMMANDS[cmd_name]] if cmd_name in COMMANDS else COMMANDS.values():
            import_module(f"driftbell.cli.{module}")
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            command = f"driftbell {ctx.invoked_subcommand}"
            if (error.name or "").partition(".")[0] in SERVE_PACKAGES:
                raise MissingExtraError(command, "serve") from error
            from driftbell.models.missing_library import missing_module, need_text

            if module := missing_module(error):
                raise MissingModuleError(f"{command} {need_text(module)}") from error
            raise
        except BrokenPipeError as error:  # click would end with 1, which here means drift
            raise _ReaderGoneError from error


QUIET_COMMANDS = frozenset({"check"})
"""Commands that configure the log only if they write to it: the import of structlog takes 0.1 s."""

FAIL_ON = ("drift", "alarm", "never")
"""Verdicts that end a check with `EXIT_DRIFT`: drift or an alarm, only an alarm, or none."""


def exit_code(judgement: Judgement, fail_on: str = "drift") -> int:
    """Return the exit code for a judgement: 1 for an alarm, drift or a limit, 3 without a verdict, else 0.

    A check that cannot tell whether the model performs worse, until there are labels, has no verdict.

    Args:
        judgement: the judgement.
        fail_on: one of `FAIL_ON`. Whatever it is, a check without a verdict never looks like a good one. With
            "alarm", drift and limits do not hide that a column or the performance could not be judged.
    """
    if fail_on != "never" and judgement.verdict == "alarm":
        return EXIT_DRIFT
    if fail_on == "drift" and (judgement.drifted_columns or judgement.exceeded_limits):
        return EXIT_DRIFT
    if fail_on == "alarm" and unknown_parts(judgement):
        return EXIT_UNKNOWN  # drift or a limit made it a warning
    needs_labels = judgement.degradation is not None and judgement.degradation.needs_labels
    return EXIT_UNKNOWN if judgement.verdict == "unknown" or needs_labels else EXIT_OK


def unknown_parts(judgement: Judgement) -> str:
    """Return what a check could not judge, or "": the performance, or columns other than additional ones."""
    columns = [c.column for c in judgement.columns if c.comparison.scope == "incomplete" and not c.left_out]
    parts = [f"cannot compare {join_names(columns)}"] if columns else []
    if judgement.degradation is not None and judgement.degradation.verdict == "unknown":
        parts.append("cannot tell whether the model performs worse")
    return ", and ".join(parts)


def main() -> NoReturn:
    """Run a command. Errors raised on purpose are printed as one line on stderr, with exit code 2.

    Python's exit code for a crash is 1, which here means drift, so no exception leaves this function.
    """
    _open_standard_streams()
    code = _run_in_child() if _loads_model(sys.argv[1:]) else _run()
    _discard_unwritable_output()
    gc.freeze()  # the end of the process would look through every object of large libraries, for seconds
    sys.exit(code)


def _loads_model(arguments: Sequence[str]) -> bool:
    """Return whether a command line loads a model that may never have been loaded before."""
    words = [word for word in arguments if not word.startswith("-")]
    return words[:1] == ["init"] or words[:2] == ["models", "add"]


def _run_in_child() -> int:
    """Run the command in a child process, and report how that ended."""
    from driftbell.cli.model_process import run_in_child

    def run() -> int:
        code = _run()
        _discard_unwritable_output()
        return code

    try:
        code, reason = run_in_child(run)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    if code is None:
        return _print_error(partial(click.echo, f"driftbell: {reason}", err=True), EXIT_USAGE)
    return code


def _run() -> int:
    """Run the command and return its exit code."""
    try:
        cli(standalone_mode=False)
    except SystemExit as end:
        if isinstance(end.code, str):
            return _print_error(partial(click.echo, end.code, err=True), EXIT_UNKNOWN)
        return end.code or EXIT_OK
    except click.ClickException as error:
        return _print_error(error.show, EXIT_USAGE)
    except click.Abort:
        return EXIT_INTERRUPTED
    except DriftbellError as error:
        return _print_error(partial(click.echo, f"driftbell: {error}", err=True), EXIT_USAGE)
    except _ReaderGoneError:
        return EXIT_USAGE
    except BaseException as error:  # noqa: BLE001 - see `main`; a panic in a library of Rust is no Exception
        return _print_error(partial(_print_crash, error), EXIT_UNKNOWN)
    return EXIT_OK


def _open_standard_streams() -> None:
    """Open the null device for each standard stream that is closed: a file would get its number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it has the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _print_error(show: Callable[[], object], code: int) -> int:
    with suppress(OSError):  # stderr cannot be written either
        show()
    return code


def _print_crash(error: BaseException) -> None:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EIO) and error.filename is None:
        click.echo(f"driftbell: cannot write the output: {error.strerror}", err=True)
    elif values_are_hidden():  # a message of another library may have one
        click.echo("".join([*traceback.format_tb(error.__traceback__), type(error).__name__]), err=True)
    else:
        traceback.print_exception(error)


def _discard_unwritable_output() -> None:
    """Drop output that cannot be written, since Python would end with a code of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@click.group(cls=_RootGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(driftbell.__version__, prog_name="driftbell")
@click.pass_context
def cli(context: click.Context) -> None:
    """Serve or monitor a model, and raise an alarm when its performance degrades.

    \b
    Start here:
      driftbell demo          run a demonstration; needs no setup
      driftbell init MODEL    configure your own model, for `driftbell up`
      driftbell up            serve and monitor with one command
      driftbell check A B     compare two tables
      driftbell config        show every setting and its source

    Exit codes: 0 success, 1 alarm or drift, 2 usage or configuration error, 3 no verdict or internal error.
    """
    if context.invoked_subcommand in QUIET_COMMANDS:
        warnings.showwarning = _log_warning
    else:
        configure_log()


def configure_log() -> None:
    """Write warnings as sentences to stderr, since stdout is for results."""
    from driftbell import jsonlog

    jsonlog.configure(sys.stderr, level="WARNING", plain=True)


def _log_warning(*arguments: Any, **options: Any) -> None:
    configure_log()
    warnings.showwarning(*arguments, **options)


config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="Path to the configuration file [default: driftbell.toml].",
)


key_option = click.option(
    "--api-key-file",
    type=click.Path(path_type=Path),
    help="File with an API key [default: the key in DRIFTBELL_API_KEY].",
)


def common(command: F) -> F:
    """Add the options of every command that reads the settings."""
    for option in (
        click.option("--parent", type=int, hidden=True, help="End when the process with this id ends."),
        click.option("--data-dir", help="Folder for the prediction store, models and reports."),
        config_option,
    ):
        command = option(command)
    return command


def settings(config_file: Path | None, **overrides: Any) -> config.LoadedSettings:
    """Load the settings, and export command-line values to the environment for child processes."""
    from driftbell.config import settings as config
    from driftbell.config.sources import FILE_VARIABLE

    values = {k.replace("__", "."): v for k, v in overrides.items() if v is not None}
    loaded = config.load(config_file, overrides=values)
    if config_file:
        os.environ[FILE_VARIABLE] = str(config_file.absolute())
    os.environ.update({config.environment_variable(name): str(value) for name, value in values.items()})
    return loaded


def silence_retries() -> None:
    """Turn off stamina's log lines and counters, since a command reports its failed requests itself."""
    from stamina.instrumentation import set_on_retry_hooks

    set_on_retry_hooks(())


def service_url(configured: config.Settings) -> str:
    """Return the URL at which this machine reaches the configured service."""
    host = LOOPBACK.get(configured.server.host, configured.server.host)
    return f"http://{network_address(host, configured.server.port)}"


def begin(parent: int | None, configured: config.Settings) -> None:
    """Prepare a long-running process: JSON logs on stdout, its umask, and its end with the parent process.

    Raises:
        ModuleNotFoundError: the extra `serve` is not installed.
    """
    if find_spec("uvicorn") is None:
        raise ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn")
    from driftbell import jsonlog
    from driftbell.data_folder import restrict_access
    from driftbell.process.parent_death import exit_with

    jsonlog.configure()
    restrict_access(configured.data_dir, configured.mask)
    if parent:
        exit_with(parent)
