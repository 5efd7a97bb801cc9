"""Every error Alula raises on purpose; all of them are `AlulaError`."""


class AlulaError(Exception):
    """Base of every error we raise.  Its text is one line: `<what> <where>: expected ..., got ...`."""


class UsageError(AlulaError):
    """The caller asked for something that cannot be: a wrong option, path or combination of them."""


class ImportFailed(AlulaError):
    """A foreign model could not be brought to a graph."""


class UnsupportedOperator(ImportFailed):
    """A foreign model uses operators that we do not know; the text names all of them.

    `inputs` are the model's inputs whose elements would have to be known for some of them.
    """

    def __init__(self, text: str, inputs: frozenset[str] = frozenset()) -> None:
        super().__init__(text)
        self.inputs = inputs


class ShapeError(AlulaError):
    """Shapes or dtypes do not fit: of an op's operands, or of an array given to `run`."""


class GraphError(AlulaError):
    """A graph breaks an invariant of the IR, or its text does not parse."""


class ModelFormatError(AlulaError):
    """A `.alula` file is damaged, of an unknown version, or not one at all."""


class CheckpointError(AlulaError):
    """A checkpoint is unreadable or does not fit the architecture."""


class ImageError(AlulaError):
    """A picture could not be decoded, or a folder of them could not be understood."""


class CodegenError(AlulaError):
    """No kernel of the target serves an op, or the machine code could not be made."""


def first_line(error: BaseException) -> str:
    """What somebody else's error is, and the first line of what it says, for a message of ours."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
