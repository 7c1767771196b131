"""What users can mend themselves."""

import contextlib
from collections.abc import Iterator


class UserError(Exception):
    """Says in its message all that a user needs; commands print it without Python's trace."""


class InputError(UserError, ValueError):
    """Settings or data that do not go together."""


@contextlib.contextmanager
def in_a_sentence() -> Iterator[None]:
    """Makes the errors of a block that reads settings and data such that commands print no trace.

    Raises:
        InputError: The block raised a ValueError or an OSError, which is kept as the cause.
    """
    try:
        yield
    except UserError:
        raise
    except (ValueError, OSError) as error:
        raise InputError(str(error)) from error
