"""The `alula` command's entry point: picks the subcommand, and turns what goes wrong into one line and an exit code."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

import alula
from alula.core.errors import AlulaError, UsageError

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

COMMANDS = (
    "export",
    "fetch",
    "build",
    "compile",
    "infer",
    "eval",
    "classify",
    "perf",
    "perf compare",
    "inspect",
    "verify",
    "explain",
    "doctor",
)
DONE, WORK_FAILED, WRONG_USAGE, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are ours: one line, no usage text, and none of them swallowed."""

    def error(self, message: str) -> NoReturn:
        """Raises UsageError."""
        raise UsageError(f"{self.prog}: {message} (see {self.prog} --help)")

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Writes the help; argparse's own says nothing of an output that cannot be written to."""
        print(self.format_help(), end="", file=file)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line, `sys.argv` by default, and returns its exit code.

    0 done; 1 the work failed; 2 wrong usage or unusable input; 130 interrupted; 141 nobody reads the output.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    return guarded(lambda: _run(words))


def guarded(work: Callable[[], int]) -> int:
    """The exit code of `work`; what goes wrong in it becomes one line on standard error."""
    warnings.filterwarnings("ignore", module=r"PIL\.")  # what matters in them, the decoder raises
    try:
        code = work()
        sys.stdout.flush()
    except AlulaError as error:
        return _report(str(error), WORK_FAILED if _out_of_space(error.__cause__) else WRONG_USAGE)
    except KeyboardInterrupt:
        return _report("interrupted", INTERRUPTED)
    except BrokenPipeError:
        _settle_output()
        return BROKEN_PIPE
    except OSError as error:
        place = f" {error.filename}" if error.filename else ""
        _settle_output()
        code = WORK_FAILED if _out_of_space(error) else WRONG_USAGE
        return _report(f"file{place}: expected to read or write it, got {error.strerror or error}", code)
    except MemoryError:
        return _report("memory: expected enough for this model and batch, got no more", WORK_FAILED)
    return code


def _run(words: list[str]) -> int:
    if words[:2] == ["perf", "compare"]:  # a command of two words; argparse knows one
        words = ["perf compare", *words[2:]]
    named = next((word for word in words if not word.startswith("-")), None)
    parser, modules = _parser([named] if named in COMMANDS else COMMANDS)
    try:
        arguments = parser.parse_args(words)
    except SystemExit:  # --help was printed; errors raise UsageError
        return DONE
    if arguments.version:
        print(f"alula {alula.__version__}")
        return DONE
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return WRONG_USAGE
    code: int = modules[arguments.command].run(arguments)
    return code


def _parser(commands: Sequence[str]) -> tuple[Parser, dict[str, ModuleType]]:
    """A parser of these commands only: the modules of the others are not even imported."""
    parser = Parser(prog="alula", description="Compiles trained vision models for fast inference on this machine.")
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    modules = {command: import_module(f"alula.cli.{command.replace(' ', '_')}") for command in commands}
    for command, module in modules.items():
        own = subparsers.add_parser(command, help=module.HELP, description=module.HELP, allow_abbrev=False)
        module.configure(own)
    return parser, modules


def _report(message: str, code: int) -> int:
    print(f"error: {' '.join(message.split())}" if code != INTERRUPTED else message, file=sys.stderr)
    return code


def _out_of_space(cause: BaseException | None) -> bool:
    return isinstance(cause, OSError) and cause.errno in NO_SPACE


def _settle_output() -> None:
    """Drops what standard output holds and nobody can take, or the interpreter would fail once more at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
