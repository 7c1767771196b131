"""What users can mend themselves."""


class UserError(Exception):
    """Says in its message all that a user needs; commands print it without Python's trace."""
