"""The checker of type annotations in the suite: an int is a float, as Python's typing says."""

from beartype import BeartypeConf, beartype

typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))
