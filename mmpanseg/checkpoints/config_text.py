"""Config texts in checkpoints: literal data, which is parsed and never executed."""
import ast
from typing import Any

from mmengine import registry as root
from mmengine.config import ConfigDict
from mmengine.registry import Registry

from mmpanseg.checkpoints.sources import CheckpointError

_SCOPES = ('mmengine', 'mmdet', 'mmpanseg')
_LONGEST = 4 << 20
# Entries with names of registered classes or functions, and with scopes of names.
_TYPES, _SCOPE_KEYS = ('type', 'collate_fn', 'batch_sampler'), ('_scope_', 'default_scope')
# Entries with files of weights, which the policy reads.
_WEIGHTS = ('checkpoint', 'load_from', 'pretrained', 'out_file_path')
# Formats in which mmengine and mmdet read code, by the last part of a name.
_CODE = ('py', 'pkl', 'pickle', 'yaml', 'yml', 'np', 'npy', 'npz')
# Classes that evaluate a text among their options, or load other configs.
_EVALUATING = ('mmdet.models.task_modules.tracking.', 'mmdet.models.trackers.', 'mmdet.models.mot.',
               'mmdet.models.vis.', 'mmdet.models.tracking_heads.', 'mmdet.models.language_models.',
               'mmdet.models.detectors.kd_one_stage.', 'mmdet.models.detectors.lad.',
               'mmdet.models.reid.')
# Functions of mmcv that a detector of mmdet names.
_FUNCTIONS = ('nms', 'soft_nms', 'nms_match')
_WAY_OUT = 'name a config, it is not executed'


def parse_config_text(text: str) -> ConfigDict:
    """Parse a config as ``Config.dump`` writes it: assignments of literal values.

    Args:
        text: of a checkpoint.

    Returns:
        The config, equal to that of ``Config.fromstring`` for such texts.

    Raises:
        CheckpointError: it contains something else than literals, or an entry that would run or
            import code when a model is built of it.
    """
    try:
        if len(text) > _LONGEST:
            raise ValueError('it is too long')
        config = assigned_literals(text)
    except NotLiteral as error:
        raise CheckpointError(f'the config text in it is no literal data (line {error.line}: '
                              f'{error.code}): {_WAY_OUT}') from error
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = str(error.args[0] if error.args else error)[:100]
        raise CheckpointError(f'the config text in it cannot be parsed ({type(error).__name__}: '
                              f'{reason}): {_WAY_OUT}') from error
    _check_imports(config)
    _check(config, '')
    return ConfigDict(config)


class NotLiteral(Exception):
    """A config text contains something else than literal values."""

    def __init__(self, node: ast.AST) -> None:
        self.line = getattr(node, 'lineno', 0)
        self.code = ' '.join(ast.unparse(node).split())[:60]
        super().__init__(self.code)


def assigned_literals(text: str, skip_others: bool = False) -> dict[str, Any]:
    """Read the assignments of a Python text without executing it.

    Args:
        text: of a config.
        skip_others: leave out names whose values are no literals.

    Returns:
        value by name.

    Raises:
        NotLiteral: the text contains another statement or value.
        SyntaxError: it is no Python. Also ValueError, RecursionError, MemoryError, see
            :func:`ast.parse`.
    """
    entries: dict[str, Any] = {}
    for statement in ast.parse(text).body:
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1 or not (
                isinstance(statement.targets[0], ast.Name)):
            raise NotLiteral(statement)
        try:
            entries[statement.targets[0].id] = _literal(statement.value)
        except NotLiteral:
            if not skip_others:
                raise
    return entries


def _literal(node: ast.expr) -> Any:
    """Return the value of a literal or of ``dict(key=literal)``."""
    match node:
        case ast.Constant():
            return node.value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.List() | ast.Tuple() | ast.Set():
            kind = dict(List=list, Tuple=tuple, Set=set)[type(node).__name__]
            return kind(map(_literal, node.elts))
        case ast.Dict(keys=keys, values=values) if None not in keys:
            return {_literal(key): _literal(value) for key, value in zip(keys, values) if key}
        case ast.Call(func=ast.Name(id='dict'), args=args, keywords=entries):
            content: dict = {}
            for part in args:  # dict({'a-b': 1})
                if not isinstance(part, ast.Dict):
                    raise NotLiteral(node)
                content.update(_literal(part))
            for entry in entries:
                value = _literal(entry.value)
                if entry.arg is None and not isinstance(value, dict):
                    raise NotLiteral(node)
                content.update(value if entry.arg is None else {entry.arg: value})
            return content
    raise NotLiteral(node)


def _check_imports(config: dict) -> None:
    """Refuse imports of other modules, and configs of other files."""
    if '_base_' in config:
        raise CheckpointError(f'the config text in it has _base_: {_WAY_OUT}')
    imports = config.pop('custom_imports', None) or {}
    names = imports.get('imports', []) if isinstance(imports, dict) else imports
    for name in [names] if isinstance(names, str) else names:
        if not isinstance(name, str) or name.split('.')[0] != 'mmpanseg':
            raise CheckpointError(f'the config text in it imports {name}: {_WAY_OUT}')


def _check(value: Any, key: Any) -> None:
    """Refuse names of other code than registered classes, in an entry and all inside of it."""
    if isinstance(value, dict):
        for inner, entry in value.items():
            if inner == 'vis_backends':
                value[inner] = []  # they start programs and connections of their own
            _check(entry, inner)
    elif isinstance(value, (list, tuple, set)):
        for entry in value:
            _check(entry, key)
    elif not isinstance(value, str):
        return
    elif key in _TYPES and not _is_registered(value):
        raise CheckpointError(f'the config text in it names {key}={value[:80]!r}, no registered '
                              f'class of {", ".join(_SCOPES)}: {_WAY_OUT}')
    elif key in _SCOPE_KEYS and value not in _SCOPES:
        raise CheckpointError(f'the config text in it names the scope {value[:80]!r}: {_WAY_OUT}')
    elif key not in _WEIGHTS and value.rpartition('.')[2].lower() in _CODE:
        raise CheckpointError(f'the config text in it names the file {value[:80]!r}, which can '
                              f'contain code: {_WAY_OUT}')


def _is_registered(name: str) -> bool:
    """Check that a name is one of the registries, and not a path of a module to import."""
    if name in _FUNCTIONS:
        return True
    scope, _, plain = name.rpartition('.')
    if scope and scope not in _SCOPES:
        return False
    for registry in _registries():
        if scope and registry.scope != scope:
            continue
        if plain not in registry.module_dict:
            registry.import_from_location()
        found = registry.module_dict.get(plain)
        if found is not None:
            origin = f'{found.__module__}.'
            return not origin.startswith(_EVALUATING)
    return False


def _registries() -> list[Registry]:
    """List the registries of mmengine and of the other packages, roots first."""
    for scope in _SCOPES[1:]:
        __import__(f'{scope}.registry')
    roots = [value for value in vars(root).values() if isinstance(value, Registry)]
    return roots + [child for registry in roots for scope, child in registry.children.items()
                    if scope in _SCOPES]
