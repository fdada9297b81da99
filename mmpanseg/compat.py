"""What this library adds to the installed mmengine, mmcv and mmdet, when they are imported.

``import mmpanseg`` calls :func:`install`, which puts one finder in front of ``sys.meta_path``. The
finder only reacts to the modules named here; what was imported before is completed at once, so
that the order of imports does not matter. All effects on other packages:

==================================  ================================================================
import of                           effect, reason
==================================  ================================================================
``mmengine``                        Imports :mod:`mmpanseg.registry` afterwards, which creates the
                                    scope ``mmpanseg``: builders of mmengine and mmdet find
                                    ``type='mmpanseg.X'`` there. Modules with the classes are
                                    imported by the first lookup.
``mmdet.datasets``                  Imports :mod:`mmpanseg.datasets` afterwards: its image and
                                    annotation loaders replace those of mmcv and mmdet of the same
                                    names, also in a pipeline without any other class of this
                                    library.
``mmcv._ext``                       A placeholder (:class:`OperatorPlaceholder`) where mmcv is
                                    installed without compiled operators, or where they do not load:
                                    ``import mmcv.ops`` and most of mmdet fail without the module.
``mmdet.apis.det_inferencer``       Defines ``VOID`` and ``id2rgb`` if panopticapi is missing, and
                                    lets ``DetInferencer`` read masks that are run lengths: it
                                    cannot return results of this library's models otherwise.
``mmengine.fileio``                 Replaces its writer of JSON files: logs and scores have null in
                                    place of NaN and infinity, which are no JSON.
``mmengine.runner.checkpoint``      Replaces ``torch.load`` and ``load_url`` there: every checkpoint
                                    that is loaded through mmengine, also by mmdet, is read as data,
                                    see :mod:`mmpanseg.checkpoints.loading_policy`. mmengine's own
                                    function falls back to executing the file.
``mmengine.infer.infer``            Inferencers without a config parse the one in the checkpoint
                                    instead of executing it.
``mmengine.config.config``          ``_base_ = 'mmpanseg::mask2former/...'`` is a config of this
                                    library, of the package or of the checkout.
==================================  ================================================================

This module imports nothing but the standard library until one of these modules is imported.
"""
import functools
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MINIMUM_VERSIONS = {'mmengine': '0.10.3', 'mmcv': '2.1.0', 'mmdet': '3.3.0'}
_EXTENSION = 'mmcv._ext'

# These need no compiled operator: mmcv.ops contains a pure PyTorch implementation.
_PURE_PYTORCH = ('MultiScaleDeformableAttention', 'point_sample', 'rel_roi_point_to_rel_img_point')

# Functions of the extension that describe its build; mmcv's environment report calls them.
_BUILD_INFORMATION = ('get_compiler_version', 'get_compiling_cuda_version')


class MissingOperatorError(RuntimeError):
    """A call of an operator of mmcv that is not compiled on this machine."""


class OperatorPlaceholder(ModuleType):
    """Replacement of ``mmcv._ext`` that defines every operator; a call of one raises.

    Args:
        reason: why the real extension cannot be imported, as one phrase.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(_EXTENSION, 'Placeholder for operators that are not compiled.')
        # Without a spec find_spec raises; a spec without loader means that there is no such module.
        self.__spec__ = ModuleSpec(_EXTENSION, loader=None)
        self._reason = reason

    def __getattr__(self, name: str) -> Callable:
        if name.startswith('__'):  # the import system and inspection look up many of these
            raise AttributeError(name)
        if name in _BUILD_INFORMATION:
            return lambda: 'not compiled'

        def operator(*args: Any, **kwargs: Any) -> None:
            raise MissingOperatorError(
                f'mmcv\'s operator `{name}` is not compiled ({self._reason}): '
                'run `tools/install.sh --with-ops` to get it')

        operator.__name__ = operator.__qualname__ = name
        return operator


def operators_compiled(device_type: str = 'cpu') -> bool:
    """Check whether mmcv's compiled operators run on a type of device.

    Args:
        device_type: ``'cpu'`` or ``'cuda'``, as in ``torch.device.type``.

    Returns:
        True if mmcv's extension is installed, loads, and was compiled for the device.
    """
    extension = importlib.import_module(_EXTENSION)
    if isinstance(extension, OperatorPlaceholder):
        return False
    return device_type == 'cpu' or 'not available' not in extension.get_compiling_cuda_version()


def install(after_import: Mapping[str, Callable[[ModuleType], None]] | None = None) -> None:
    """Install the finder, and complete modules that are imported already.

    Calling it again changes nothing.

    Args:
        after_import: full name of a module of another package -> function of the module to call
            right after its import, in addition to those of this file.
    """
    _AFTER_IMPORT.update(after_import or {})
    if not any(isinstance(finder, _CompletingFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _CompletingFinder())
    if sys.modules.get('mmdet') is not None:
        _replace_dummies()
    for name, complete in _AFTER_IMPORT.items():
        module = sys.modules.get(name)
        if module is not None:
            complete(module)


def check_versions() -> None:
    """Check that mmengine, mmcv and mmdet are installed and recent enough, without importing them.

    Raises:
        ImportError: one of them is missing or too old; the text names both versions and the fix.
    """
    fix = ('install it with `pip install "mmpanseg[onedl]"` '
           '(or `"mmpanseg[openmmlab]"` for the official packages)')
    for name, minimum in MINIMUM_VERSIONS.items():
        found = _installed_version(name)
        if found is None:
            raise ImportError(f'mmpanseg needs {name} >= {minimum}: {fix}')
        if _release(found) < _release(minimum):
            raise ImportError(
                f'mmpanseg needs {name} >= {minimum}, but {found} is installed: {fix}')


def _installed_version(name: str) -> str | None:
    """Read ``__version__`` of a package, from its file version.py if it is not imported yet."""
    found = getattr(sys.modules.get(name), '__version__', None)
    if found is not None:
        return found
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return None
    import runpy  # slower than all other imports of this module

    return runpy.run_path(os.path.join(os.path.dirname(spec.origin), 'version.py'))['__version__']


def _release(version: str) -> tuple[int, ...]:
    """Convert the first three numbers of a version, e.g. 2.13.0+cpu to (2, 13, 0)."""
    numbers = [int(number) for number in re.findall(r'\d+', version)[:3]]
    return (*numbers, 0, 0, 0)[:3]


class _CompletingFinder:
    """Finder that changes how the modules of the table above are loaded, and finds no others."""

    def find_spec(self, name: str, path: Sequence[str] | None,
                  target: ModuleType | None = None) -> ModuleSpec | None:
        if name == _EXTENSION:
            try:
                loader = _ExtensionLoader(self._original(name, path, target))
            except ImportError:  # by a finder that hides the module
                loader = _ExtensionLoader(None)
            return ModuleSpec(name, loader)  # type: ignore[arg-type]  # importlib.abc is slow
        if name not in _AFTER_IMPORT:
            return None
        spec = self._original(name, path, target)
        if spec is not None and spec.loader is not None:
            # An attribute of this one loader; a loader of another class would hide its methods.
            spec.loader.exec_module = functools.partial(  # type: ignore[method-assign]
                _execute, spec.loader.exec_module, _AFTER_IMPORT[name])
        return spec

    def _original(self, name: str, path: Sequence[str] | None,
                  target: ModuleType | None) -> ModuleSpec | None:
        """Return the spec that the other finders find."""
        for finder in sys.meta_path:
            if finder is not self:
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    return spec
        return None


def _execute(original: Callable[[ModuleType], None], complete: Callable[[ModuleType], None],
             module: ModuleType) -> None:
    original(module)
    complete(module)


class _ExtensionLoader:
    """Loader of mmcv's extension, or of a placeholder where it does not load.

    Args:
        spec: of the real extension; None if mmcv was installed without it.
    """

    def __init__(self, spec: ModuleSpec | None) -> None:
        self.spec = spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        if self.spec is None or self.spec.loader is None:
            return OperatorPlaceholder('this mmcv was installed without them')
        importlib.import_module('torch')  # the extension links against libraries that torch loads
        try:
            module = importlib.util.module_from_spec(self.spec)
            self.spec.loader.exec_module(module)
        except ImportError as error:  # for instance compiled against another torch
            return OperatorPlaceholder(f'importing mmcv._ext fails with "{error}"')
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has set the spec of this loader.
        placeholder = isinstance(module, OperatorPlaceholder)
        module.__spec__ = ModuleSpec(_EXTENSION, loader=None) if placeholder else self.spec


def _replace_dummies() -> None:
    """Repair modules of mmcv and mmdet that were imported while operators could not be.

    They contain dummies, also for functions that need no compiled operator.
    """
    ops = None
    for module_name, module in list(sys.modules.items()):
        if module_name == 'mmcv.cnn.bricks.transformer':
            names: Sequence[str] = _PURE_PYTORCH[:1]
        elif module_name.startswith('mmdet.') and module is not None:
            names = [name for name in _PURE_PYTORCH if getattr(
                vars(module).get(name), '__module__', '').startswith('mmdet.')]
        else:
            continue
        for name in names:
            ops = ops or importlib.import_module('mmcv.ops')
            setattr(module, name, getattr(ops, name))


def _complete_inferencer(module: Any) -> None:
    """Let mmdet's DetInferencer return panoptic maps and run lengths without panopticapi."""
    if module.VOID is None:
        from mmpanseg.structures.panoptic_png import id2rgb
        module.VOID, module.id2rgb = 0, id2rgb
    original = module.DetInferencer.pred2dict
    if hasattr(original, '__wrapped__'):
        return

    @functools.wraps(original)
    def pred2dict(self: Any, data_sample: Any, pred_out_dir: str = '') -> dict:
        return original(self, _with_dense_masks(data_sample), pred_out_dir)

    module.DetInferencer.pred2dict = pred2dict


def _with_dense_masks(data_sample: Any) -> Any:
    """Convert the run lengths of a prediction to dense masks.

    Args:
        data_sample: prediction of one image; its ``pred_instances.masks`` are a bool tensor
            [n, H, W] or a list of n COCO run-length encodings.

    Returns:
        The same sample if there are no run lengths, else a copy with a bool tensor [n, H, W].
    """
    import numpy as np
    import torch
    from pycocotools import mask as rle_tools

    found = data_sample.get('pred_instances')
    if found is None or not isinstance(found.get('masks'), list):
        return data_sample
    dense = np.zeros((len(found), *data_sample.ori_shape[:2]), bool)
    for index, mask in enumerate(found.masks):
        dense[index] = rle_tools.decode(mask)
    instances = found.clone()  # shares its tensors; the sample of the caller does not change
    instances.masks = torch.from_numpy(dense)
    data_sample = data_sample.clone()
    data_sample.pred_instances = instances
    return data_sample


class _TorchOfLoader(ModuleType):
    """torch as mmengine's loader sees it: with another function ``load``."""

    def __init__(self, torch: ModuleType, load: Callable) -> None:
        super().__init__('torch')
        self._torch, self.load = torch, load

    def __getattr__(self, name: str) -> Any:
        return getattr(self._torch, name)


def replace_loading(checkpoint: Any, policy: Callable[[], Any]) -> None:
    """Let mmengine's loader read files and downloads by a policy.

    Args:
        checkpoint: the module mmengine.runner.checkpoint.
        policy: returns a module with ``load``, ``load_url`` and ``load_named``; it is called by the
            first load.
    """
    if isinstance(checkpoint.torch, _TorchOfLoader):
        return
    checkpoint.torch = _TorchOfLoader(
        checkpoint.torch, lambda *args, **kwargs: policy().load(*args, **kwargs))
    checkpoint.load_url = lambda *args, **kwargs: policy().load_url(*args, **kwargs)
    original = checkpoint.CheckpointLoader.load_checkpoint

    @functools.wraps(original)
    def load_checkpoint(filename: str, *args: Any, **kwargs: Any) -> Any:
        return policy().load_named(original, filename, *args, **kwargs)

    checkpoint.CheckpointLoader.load_checkpoint = load_checkpoint


def replace_stored_configs(infer: Any, policy: Callable[[], Any]) -> None:
    """Let mmengine's inferencers take the config of a checkpoint by a policy.

    Args:
        infer: the module mmengine.infer.infer.
        policy: returns a module with ``fill_config``.
    """
    original = infer.BaseInferencer._init_model
    if hasattr(original, '__wrapped__'):
        return

    @functools.wraps(original)
    def _init_model(self: Any, cfg: Any, weights: str | None, *args: Any, **kwargs: Any) -> Any:
        policy().fill_config(cfg, weights)
        return original(self, cfg, weights, *args, **kwargs)

    infer.BaseInferencer._init_model = _init_model


def find_own_bases(config: Any, folder: Callable[[], Any]) -> None:
    """Let ``_base_`` of a config name configs of this library, ``mmpanseg::FOLDER/NAME.py``.

    mmengine knows the packages of OpenMMLab only, and sets the scope of such a base to its package,
    where the names of mmdet's classes are unknown.

    Args:
        config: the module mmengine.config.config.
        folder: returns the path of the folder of configs.
    """
    original = config.Config._get_cfg_path
    if hasattr(original, '__wrapped__'):
        return

    @functools.wraps(original)
    def _get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        package, _, name = cfg_path.partition('::')
        if package != 'mmpanseg' or not name:
            return original(cfg_path, filename)
        return str(folder() / name), None

    config.Config._get_cfg_path = staticmethod(_get_cfg_path)


def _write_null_for_nan(handlers: Any) -> None:
    """Replace mmengine's writer of JSON, of logs and scores, by one that never writes NaN."""
    from mmpanseg.utils.strict_json import dumps_with_null

    original = handlers.file_handlers['json']
    if hasattr(original, 'writes_null'):
        return
    kind = type(original)
    set_default = sys.modules[kind.__module__].set_default

    def dump_to_str(self: Any, obj: Any, **kwargs: Any) -> str:
        kwargs.setdefault('default', set_default)
        return dumps_with_null(obj, **kwargs)

    def dump_to_fileobj(self: Any, obj: Any, file: Any, **kwargs: Any) -> None:
        file.write(dump_to_str(self, obj, **kwargs))

    handlers.file_handlers['json'] = type(kind.__name__, (kind, ), dict(
        dump_to_str=dump_to_str, dump_to_fileobj=dump_to_fileobj, writes_null=True))()


# Full module name -> function of the module that runs right after its import.
_AFTER_IMPORT: dict[str, Callable[[ModuleType], None]] = {
    'mmdet.apis.det_inferencer': _complete_inferencer,
    'mmengine.fileio.handlers.registry_utils': _write_null_for_nan,
}
