"""Configs are checked before anything is built: types, keys, kinds of values."""
import inspect
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import (
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from mmengine.registry import DefaultScope, Registry

# hint -> what its values may be; sequences and unions are looked into
_KINDS: dict[Any, type | tuple[type, ...]] = {
    int: Integral, float: Real, bool: Integral, str: str, dict: Mapping, Mapping: Mapping,
    NoneType: NoneType}
_SEQUENCES = (list, tuple, Sequence)


def checked(build: Callable) -> Callable:
    """A registry's build function that first looks at the config, and says what is wrong with it.

    Raises:
        ValueError: the type is unknown; the text has similar names. Or its class refuses the
            options by an assertion or a look-up that fails; the text quotes it.
        TypeError: an option of a class of this library has a value of the wrong kind.
    """
    def build_checked(cfg: dict, *args: Any, registry: Registry, **kwargs: Any) -> Any:
        if not isinstance(cfg, dict):
            return build(cfg, *args, registry=registry, **kwargs)
        kind = cfg.get('type', (kwargs.get('default_args') or {}).get('type'))
        with registry.switch_scope_and_registry(cfg.get('_scope_')) as scoped:
            built = scoped.get(kind) if isinstance(kind, str) else kind
        if isinstance(kind, str) and built is None:
            raise ValueError(unknown_type(kind, registry))
        if inspect.isclass(built):
            check_values(kind if isinstance(kind, str) else built.__name__, built, cfg)
        try:
            return build(cfg, *args, registry=registry, **kwargs)
        except (AssertionError, KeyError) as error:
            reason = (str(error.args[0]) if error.args else
                      traceback.extract_tb(error.__traceback__)[-1].line)
            raise ValueError(f'type={kind!r} cannot be built with its options: {reason}') from error
    return build_checked


def unknown_type(kind: str, registry: Registry) -> str:
    """Text about a type that no registry has, with the full names of similar ones."""
    root = registry
    while root.parent is not None:
        root = root.parent
    scope = DefaultScope.get_current_instance()
    default = '' if scope is None else scope.scope_name
    names: dict[str, list[str]] = {}
    for part in (root, *root.children.values()):
        for name in part.module_dict:
            names.setdefault(name, []).append(
                name if part.scope in (default, root.scope) else f'{part.scope}.{name}')
    close = get_close_matches(kind.rsplit('.', 1)[-1], names, 3)
    found = sorted((full for name in close for full in names[name]),
                   key=lambda full: not full.startswith('mmpanseg.'))[:3]
    advice = (f'did you mean {" or ".join(map(repr, found))}?' if found else
              'is the module that registers it named in custom_imports?')
    return f'type={kind!r} is unknown: {advice}'


def check_values(owner: str, built: type, options: Mapping[str, Any]) -> None:
    """Compare options with the type hints of a class of this library.

    Args:
        owner: how texts call the class.
        built: the class; those of other libraries are not looked at.
        options: by name; those without a hint may be anything.

    Raises:
        TypeError: a value is of another kind, such as text in the place of a number.
    """
    hints = _hints(built)
    for name, value in options.items():
        if name in hints and not _fits(value, hints[name]):
            raise TypeError(f'{name}={value!r} of {owner} is of the wrong kind, '
                            f'{type(value).__name__}: it must be {_described(hints[name])}')


@cache
def _hints(built: type) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for part in reversed(inspect.getmro(built)):
        if part.__module__.startswith('mmpanseg.') and '__init__' in vars(part):
            hints.update(get_type_hints(part.__init__))
    return hints


def _fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if origin in _SEQUENCES or hint in _SEQUENCES:
        parts = [part for part in get_args(hint) if part is not Ellipsis]
        return isinstance(value, Sequence) and not isinstance(value, str) and all(
            not parts or any(_fits(item, part) for part in parts) for item in value)
    kind = _KINDS.get(origin or hint)
    return kind is None or isinstance(value, kind)


def _described(hint: Any) -> str:
    if get_origin(hint) in (Union, UnionType):
        return ' or '.join(map(_described, get_args(hint)))
    if hint is NoneType:
        return 'None'
    return hint.__name__ if inspect.isclass(hint) and not get_args(hint) else str(
        hint).replace('typing.', '').replace('collections.abc.', '')


# how Python says that a class has no such argument
_UNKNOWN = ('unexpected keyword argument', 'takes no arguments')


def known_arguments(built: type) -> set[str]:
    """Keyword arguments of a class, those of its parents included where it passes on the rest."""
    names = set()
    for part in inspect.getmro(built):
        if '__init__' not in vars(part):
            continue
        parameters = inspect.signature(part.__init__).parameters.values()
        names.update(p.name for p in parameters
                     if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            break
    return names - {'self'}


def unknown_keys(owner: str, keys: Iterable[str], known: Iterable[str]) -> str:
    """Text for keys that ``owner`` does not know; empty if it knows all of them."""
    known = sorted(known)
    unknown = [key for key in keys if key not in known]
    if not unknown:
        return ''
    close = [f', did you mean {match!r}?' for match in get_close_matches(unknown[0], known, 1)]
    return (f'{owner} has no entry {", ".join(map(repr, unknown))}{"".join(close) or ";"} '
            f'it may have {", ".join(known) or "none"}')


def naming_keys(build: Callable) -> Callable:
    """A build function whose error for an unknown key also names the known ones."""
    def build_naming_keys(cfg: dict, registry: Registry, default_args: dict | None = None,
                          **options) -> object:
        try:
            return build(cfg, registry=registry, default_args=default_args, **options)
        except TypeError as error:
            if not isinstance(cfg, dict) or not any(text in str(error) for text in _UNKNOWN):
                raise
            keys = {**(default_args or {}), **cfg}
            kind = keys.pop('type', None)
            with registry.switch_scope_and_registry(keys.pop('_scope_', None)) as scoped:
                built = scoped.get(kind) if isinstance(kind, str) else kind
            text = unknown_keys(f'config of {built.__name__}', keys, known_arguments(built)) if (
                inspect.isclass(built)) else ''
            if text:
                raise TypeError(text) from error
            raise
    return build_naming_keys


Variant = TypeVar('Variant')


def resolve_option(option: str, name: str, variants: Mapping[str, Variant]) -> Variant:
    """The variant of an option that a config names.

    Raises:
        ValueError: for a name that is not in the table; the text lists those that are.
    """
    if name not in variants:
        raise ValueError(f'{option}={name!r} is unknown; choose one of {", ".join(variants)}')
    return variants[name]
