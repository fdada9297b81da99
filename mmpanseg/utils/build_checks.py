"""Checks of a registry's build function: errors name the type, the option and the fix."""
import inspect
import traceback
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from mmengine.registry import DefaultScope, Registry

from mmpanseg.utils.config_checks import (
    check_option_types,
    describe_unknown_keys,
    init_arguments,
)

# Parts of Python's error texts for a keyword argument that a class does not accept.
_UNKNOWN_ARGUMENT = ('unexpected keyword argument', 'takes no arguments')


def with_config_checks(build: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the build function of a registry, so that it checks the config.

    Args:
        build: called as ``build(cfg, *args, registry=registry, **kwargs)``.

    Returns:
        function with the same arguments. It raises a ValueError where the type is unknown or where
        its class rejects the options by an assertion or a failed look-up; and a TypeError where an
        option is unknown or an option of a class of this library has a value of the wrong type.
    """
    def build_with_checks(cfg: Any, *args: Any, registry: Registry, **kwargs: Any) -> Any:
        if not isinstance(cfg, dict):
            return build(cfg, *args, registry=registry, **kwargs)
        options = {**(kwargs.get('default_args') or {}), **cfg}
        cls = options.pop('type', None)
        name = cls
        with registry.switch_scope_and_registry(options.pop('_scope_', None)) as scoped:
            if isinstance(name, str):
                cls = scoped.get(name)
        if cls is None and name is not None:
            raise ValueError(describe_unknown_type(name, registry))
        if inspect.isclass(cls):
            check_option_types(name if isinstance(name, str) else cls.__name__, cls, cfg)
        try:
            return build(cfg, *args, registry=registry, **kwargs)
        except TypeError as error:
            if inspect.isclass(cls) and any(text in str(error) for text in _UNKNOWN_ARGUMENT):
                text = describe_unknown_keys(
                    f'config of {cls.__name__}', options, init_arguments(cls))
                if text:
                    raise TypeError(text) from error
            raise
        except (AssertionError, KeyError) as error:
            reason = (str(error.args[0]) if error.args else
                      traceback.extract_tb(error.__traceback__)[-1].line)
            raise ValueError(f'type={name!r} cannot be built with its options: {reason}') from error
    return build_with_checks


def describe_unknown_type(name: str, registry: Registry) -> str:
    """Write the error text for a type that no registry contains.

    Args:
        name: the type in the config, with or without a scope.
        registry: any registry of the tree to search for similar names.

    Returns:
        text with up to three similar names, each with the scope that a config must write.
    """
    root = registry
    while root.parent is not None:
        root = root.parent
    scope = DefaultScope.get_current_instance()
    default = '' if scope is None else scope.scope_name
    full_names: dict[str, list[str]] = {}
    for part in (root, *root.children.values()):
        for known in part.module_dict:
            full_names.setdefault(known, []).append(
                known if part.scope in (default, root.scope) else f'{part.scope}.{known}')
    similar = get_close_matches(name.rsplit('.', 1)[-1], full_names, 3)
    found = sorted((full for known in similar for full in full_names[known]),
                   key=lambda full: not full.startswith('mmpanseg.'))[:3]
    advice = (f'did you mean {" or ".join(map(repr, found))}?' if found else
              'does custom_imports list the module that registers it?')
    return f'type={name!r} is unknown: {advice}'
