"""What the sample's commands share: errors are one line, exit codes are those of `alula`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from alula.cli.main import Parser
from alula.core.errors import AlulaError

WRONG_USAGE, INTERRUPTED = 2, 130


def command(description: str) -> Parser:
    """A parser without abbreviations, so that a new option never changes what an old command line means."""
    return Parser(description=description, allow_abbrev=False)


def finish(work: Callable[[Sequence[str]], int]) -> None:
    """Ends the program with what `work` returns for its command line, or with one line on standard error."""
    try:
        code = work(sys.argv[1:])
    except AlulaError as error:
        print(f"error: {error}", file=sys.stderr)
        code = WRONG_USAGE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    sys.exit(code)
