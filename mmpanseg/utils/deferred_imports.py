"""Import statements of other packages whose effect waits for the first use of a name.

Inside :func:`deferred_imports`, ``from transformers import AutoTokenizer`` in a module of mmdet
binds the name to a :class:`Deferred` object. Its first use, also much later, imports the package,
and puts the real object in its place in all modules that hold it. ``sys.modules`` never contains a
stand-in, and imports in all other modules are as always.
"""
from __future__ import annotations

import ast
import builtins
import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class Deferred:
    """Stand-in for a module, or for a name in a module, which is imported by its first use.

    Args:
        module: full name of the module.
        name: name in it; None for the module itself.
        submodules: modules to import besides it, because a statement named them.
        defined: the module defines a class of this name.
    """

    def __init__(self, module: str, name: str | None = None, submodules: Sequence[str] = (),
                 defined: bool = False) -> None:
        object.__setattr__(self, '_source', (module, name, [*submodules]))
        if defined:
            # what registries ask their entries
            object.__setattr__(self, '_known', {
                '__module__': module, '__name__': name, '__qualname__': name})

    def __getattribute__(self, attribute: str) -> Any:
        if attribute == '__mro_entries__':  # an attribute of the object, not of its type
            return object.__getattribute__(self, attribute)
        known = object.__getattribute__(self, '__dict__').get('_known', {})
        if attribute in known:
            return known[attribute]
        module, name, submodules = _source(self)
        below = f'{module}.{attribute}'
        if name is None and below not in sys.modules:
            # the rest of `import matplotlib.pyplot as plt`
            inside = [one for one in submodules if f'{one}.'.startswith(f'{below}.')]
            if inside:
                return Deferred(below, None, inside)
        return getattr(resolve(self), attribute)

    def __setattr__(self, attribute: str, value: Any) -> None:
        setattr(resolve(self), attribute, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return resolve(self)(*args, **kwargs)

    def __getitem__(self, key: Any) -> Any:
        return resolve(self)[key]

    def __or__(self, other: Any) -> Any:
        return resolve(self) | other

    def __ror__(self, other: Any) -> Any:
        return other | resolve(self)

    def __repr__(self) -> str:
        module, name, _ = _source(self)
        return f'<deferred import of {module if name is None else f"{module}.{name}"}>'

    def __mro_entries__(self, bases: tuple) -> tuple:
        return (resolve(self), )

    def __instancecheck__(self, instance: Any) -> bool:
        # nothing is an instance of a class that was never defined
        return _imported(self) and isinstance(instance, resolve(self))

    def __subclasscheck__(self, cls: type) -> bool:
        return _imported(self) and issubclass(cls, resolve(self))


def _source(deferred: Deferred) -> tuple[str, str | None, list[str]]:
    return object.__getattribute__(deferred, '_source')


def _imported(deferred: Deferred) -> bool:
    return _source(deferred)[0] in sys.modules


def resolve(value: Any) -> Any:
    """Import what a stand-in stands for.

    Args:
        value: any object.

    Returns:
        The real object of a :class:`Deferred`, the value itself otherwise.

    Raises:
        ImportError: there is no such module or name.
    """
    if type(value) is not Deferred:
        return value
    module_name, name, submodules = _source(value)
    for submodule in submodules:
        importlib.import_module(submodule)
    real: Any = importlib.import_module(module_name)
    if name is not None:
        try:
            real = getattr(real, name)
        except AttributeError:
            try:
                real = importlib.import_module(f'{module_name}.{name}')
            except ModuleNotFoundError:
                raise ImportError(f'cannot import name {name!r} from {module_name!r}') from None
    _replace(value, real)
    return real


def _replace(value: Deferred, real: Any) -> None:
    """Put the real object in the place of its stand-in, in modules and registries."""
    for user, module in list(sys.modules.items()):
        if _is_user(user) and isinstance(module, ModuleType):
            _replace_in(vars(module), value, real)
    for registry in _registries().values():
        _replace_in(registry.module_dict, value, real)


def _replace_in(names: dict[str, Any], value: Deferred, real: Any) -> None:
    for name, held in list(names.items()):
        if held is value:
            names[name] = real


_USERS = ('mmengine', 'mmcv', 'mmdet', 'pycocotools')


def _is_user(module: str) -> bool:
    """Whether import statements of a module may be deferred."""
    return module.partition('.')[0] in _USERS


def _registries() -> dict[str, Any]:
    """Root registries of mmengine by name."""
    engine = sys.modules.get('mmengine.registry')
    if engine is None:
        return {}
    return {name: value for name, value in vars(engine).items()
            if isinstance(value, engine.Registry)}


class _Names:
    """What ``from module import names`` reads its names from."""

    def __init__(self, module: str, held: dict[str, Deferred]) -> None:
        self._module, self._held = module, held

    def __getattr__(self, name: str) -> Deferred:
        return self._held.get(name) or Deferred(self._module, name)


class _RegisteredModule:
    """A module of mmengine that registers classes, which wait for their first use.

    Args:
        name: full name of the module.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.held: dict[str, Deferred] = {}
        self._entries: list[tuple[str, str]] = []

    def register(self) -> bool:
        """Register stand-ins for the classes.

        Returns:
            False if the source of the module is not as expected; then nothing is changed.
        """
        spec = importlib.util.find_spec(self.name)
        if spec is None or spec.origin is None:
            return False
        with open(spec.origin, encoding='utf-8') as file:
            entries = registered_classes(file.read())
        registries = _registries()
        if any(registry not in registries for registry, _ in entries):
            return False
        self._entries = entries
        for registry, name in entries:
            self.held[name] = Deferred(self.name, name, defined=True)
            registries[registry].register_module(name=name, module=self.held[name])
        return True

    def unregister(self) -> None:
        """Remove the stand-ins: the module is about to register its classes."""
        registries = _registries()
        for registry, name in self._entries:
            if registries[registry].module_dict.get(name) is self.held[name]:
                del registries[registry].module_dict[name]


def registered_classes(source: str) -> list[tuple[str, str]]:
    """Find the classes and functions of a module that it registers under their own names.

    Args:
        source: text of the module.

    Returns:
        (name of the registry, name of the class or function) of each.
    """
    found = []
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            match decorator:
                case ast.Call(func=ast.Attribute(value=ast.Name(id=registry),
                                                 attr='register_module'), args=[], keywords=[]):
                    found.append((registry, node.name))
    return found


class _Importer:
    """Replacement of ``builtins.__import__`` that defers some imports of some modules.

    Args:
        packages: top-level packages to defer, or full names of modules.
        modules: modules of mmengine, mmcv and mmdet to defer.
    """

    def __init__(self, packages: Sequence[str], modules: Sequence[str]) -> None:
        self.original: Callable = builtins.__import__
        self.packages = {*packages}
        self.modules = {*modules}

    def __call__(self, name: str, globals: Mapping[str, Any] | None = None,
                 locals: Mapping[str, Any] | None = None, fromlist: Sequence[str] | None = (),
                 level: int = 0) -> Any:
        user = (globals or {}).get('__name__') or ''
        if _is_user(user) and '*' not in (fromlist or ()):
            deferred = self._defer(name, globals or {}, fromlist or (), level)
            if deferred is not None:
                return deferred
        return self.original(name, globals, locals, fromlist, level)

    def _defer(self, name: str, globals: Mapping[str, Any], fromlist: Sequence[str],
               level: int) -> Deferred | _Names | None:
        if level:
            if not fromlist:
                return None
            name = importlib.util.resolve_name('.' * level + name, globals['__package__'])
        if name in sys.modules:
            return None
        if name in self.modules:
            return self._defer_registered(name) if fromlist else None
        top = name.partition('.')[0]
        if not any(f'{name}.'.startswith(f'{package}.') for package in self.packages):
            return None
        if top not in sys.modules and importlib.util.find_spec(top) is None:
            return None  # the statement raises, as it should
        return _Names(name, {}) if fromlist else Deferred(top, None, [name])

    @staticmethod
    def _defer_registered(name: str) -> _Names | None:
        if name not in _pending.modules:
            module = _RegisteredModule(name)
            if not module.register():
                return None
            _pending.modules[name] = module
        return _Names(name, _pending.modules[name].held)


class _PendingFinder:
    """Finder that notices the real import of a deferred module; it finds nothing itself."""

    def __init__(self) -> None:
        self.modules: dict[str, _RegisteredModule] = {}

    def find_spec(self, name: str, path: Sequence[str] | None,
                  target: ModuleType | None = None) -> None:
        module = self.modules.pop(name, None)
        if module is not None:
            module.unregister()


_pending = _PendingFinder()
_lock = threading.RLock()


@contextmanager
def deferred_imports(packages: Sequence[str], modules: Sequence[str] = ()) -> Iterator[None]:
    """Defer import statements in mmengine, mmcv, mmdet and pycocotools.

    What is imported already is not affected, and a package that is not installed raises as
    always.

    Args:
        packages: packages to defer, or modules of them.
        modules: modules of mmengine, mmcv or mmdet to defer. Their registered classes are
            in their registries at once.
    """
    with _lock:
        if isinstance(builtins.__import__, _Importer):
            yield
            return
        if _pending not in sys.meta_path:
            sys.meta_path.insert(0, _pending)
        importer = _Importer(packages, modules)
        builtins.__import__ = importer
        try:
            yield
        finally:
            if builtins.__import__ is importer:
                builtins.__import__ = importer.original
