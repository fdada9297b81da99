"""Configs of parts are looked at before they are built: names of types, kinds of values."""
import inspect
import traceback
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Callable, Literal, Union, get_args, get_origin, get_type_hints

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


@lru_cache(maxsize=None)
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
