"""Unknown keys of configs: errors whose text says what there is."""
import inspect
from difflib import get_close_matches
from typing import Callable, Iterable, Optional

from mmengine.registry import Registry

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
    def build_naming_keys(cfg: dict, registry: Registry, default_args: Optional[dict] = None,
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
