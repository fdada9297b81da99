"""Checks of config options: their names, the types of their values, named variants.

This module imports the standard library only, so that command lines can use it before torch and
mmengine are imported.
"""
import inspect
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

# Type hint -> type of the values that it allows. Sequences and unions are checked by their parts.
_VALUE_TYPES: dict[Any, type] = {
    int: Integral, float: Real, bool: Integral, str: str, dict: Mapping, Mapping: Mapping,
    NoneType: NoneType}
_SEQUENCES = (list, tuple, Sequence)

Variant = TypeVar('Variant')


def resolve_option(option: str, name: str, variants: Mapping[str, Variant]) -> Variant:
    """Look up the variant that a config names for an option.

    Args:
        option: name of the option, for the error text.
        name: value of the option in the config.
        variants: allowed value -> variant.

    Raises:
        ValueError: ``name`` is not an allowed value; the text lists the allowed ones.
    """
    if name not in variants:
        raise ValueError(f'{option}={name!r} is unknown; choose one of {", ".join(variants)}')
    return variants[name]


def init_arguments(cls: type) -> set[str]:
    """List the keyword arguments of a class.

    Arguments of a parent class count as long as each class passes ``**kwargs`` on to the next.

    Args:
        cls: class to inspect.

    Returns:
        the names, without ``self``.
    """
    names: set[str] = set()
    for base in inspect.getmro(cls):
        if '__init__' not in vars(base):
            continue
        parameters = inspect.signature(vars(base)['__init__']).parameters.values()
        names.update(p.name for p in parameters
                     if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            break
    return names - {'self'}


def describe_unknown_keys(owner: str, keys: Iterable[str], known: Iterable[str]) -> str:
    """Write the error text for keys that are not allowed.

    Args:
        owner: name of the part of the config that contains the keys.
        keys: names found in the config.
        known: names that are allowed.

    Returns:
        text with the unknown keys, a similar allowed name and all allowed names; empty if every
        key is allowed.
    """
    known = sorted(known)
    unknown = [key for key in keys if key not in known]
    if not unknown:
        return ''
    similar = get_close_matches(unknown[0], known, 1)
    hint = f', did you mean {similar[0]!r}?' if similar else ';'
    return (f'{owner} has no entry {", ".join(map(repr, unknown))}{hint} allowed entries: '
            f'{", ".join(known) or "none"}')


def check_option_types(owner: str, cls: type, options: Mapping[str, Any]) -> None:
    """Compare option values with the type hints of a class of this library.

    Args:
        owner: name of the class in error texts.
        cls: class that the options configure. Classes of other libraries are not checked.
        options: option name -> value. Options without a type hint are not checked.

    Raises:
        TypeError: a value does not match its hint, for example text instead of a number.
    """
    hints = _type_hints(cls)
    for name, value in options.items():
        if name in hints and not _matches_hint(value, hints[name]):
            raise TypeError(f'{name}={value!r} of {owner} has the wrong type '
                            f'{type(value).__name__}: it must be {_hint_text(hints[name])}')


@cache
def _type_hints(cls: type) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for base in reversed(inspect.getmro(cls)):
        if base.__module__.startswith('mmpanseg.') and '__init__' in vars(base):
            hints.update(get_type_hints(vars(base)['__init__']))
    return hints


def _matches_hint(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return any(_matches_hint(value, part) for part in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if origin in _SEQUENCES or hint in _SEQUENCES:
        parts = [part for part in get_args(hint) if part is not Ellipsis]
        return isinstance(value, Sequence) and not isinstance(value, str) and all(
            not parts or any(_matches_hint(item, part) for part in parts) for item in value)
    value_type = _VALUE_TYPES.get(origin or hint)
    return value_type is None or isinstance(value, value_type)


def _hint_text(hint: Any) -> str:
    if get_origin(hint) in (Union, UnionType):
        return ' or '.join(map(_hint_text, get_args(hint)))
    if hint is NoneType:
        return 'None'
    return hint.__name__ if inspect.isclass(hint) and not get_args(hint) else str(
        hint).replace('typing.', '').replace('collections.abc.', '')
