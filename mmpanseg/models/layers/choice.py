"""Variants by name."""
from typing import Mapping, TypeVar

Variant = TypeVar('Variant')


def choose(option: str, name: str, variants: Mapping[str, Variant]) -> Variant:
    """The variant of an option that a config names.

    Raises:
        ValueError: for a name that is not in the table; the text lists those that are.
    """
    if name not in variants:
        raise ValueError(f'{option}={name!r} is unknown; choose one of {", ".join(variants)}')
    return variants[name]
