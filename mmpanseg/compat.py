"""What the installed mmengine, mmcv and mmdet lack, put right before anything else is imported.

Applied once by ``import mmpanseg``. Where mmcv's operators are compiled and panopticapi is
installed, it only checks versions.
"""
import contextlib
import functools
import importlib
import importlib.util
import io
import pickle
import sys
import warnings
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MINIMUM_VERSIONS = {'mmengine': '0.10.3', 'mmcv': '2.1.0', 'mmdet': '3.3.0'}

# These need no compiled operator: they have a pure PyTorch form in mmcv.ops.
_PURE_PYTORCH = ('MultiScaleDeformableAttention', 'point_sample', 'rel_roi_point_to_rel_img_point')

# mmcv's environment report asks the extension these two questions; they are no operators.
_BUILD_QUESTIONS = ('get_compiler_version', 'get_compiling_cuda_version')

# In names of scores: of panoptic, instance and semantic segmentation, of queries.
GREATER_KEYS = ('PQ', 'SQ', 'RQ', 'AP', 'IoU', 'Util')


class MissingOperatorError(RuntimeError):
    """An operator of mmcv was called that is not compiled on this machine."""


class OperatorPlaceholder(ModuleType):
    """Stands in for ``mmcv._ext``: has every operator, and each raises when it is called.

    Args:
        reason: why the real extension cannot be imported, as one phrase.
    """

    def __init__(self, reason: str) -> None:
        super().__init__('mmcv._ext', 'Placeholder for operators that are not compiled.')
        # find_spec raises for a module in sys.modules without a spec; no loader means not there
        self.__spec__ = ModuleSpec('mmcv._ext', loader=None)
        self._reason = reason

    def __getattr__(self, name: str) -> Callable:
        if name.startswith('__'):  # import machinery and inspection ask for many of these
            raise AttributeError(name)
        if name in _BUILD_QUESTIONS:
            return lambda: 'not compiled'

        def operator(*args: Any, **kwargs: Any) -> None:
            raise MissingOperatorError(
                f'mmcv\'s operator `{name}` is not compiled ({self._reason}): '
                'run `tools/install.sh --with-ops` to get it')

        operator.__name__ = operator.__qualname__ = name
        return operator


def operators_compiled(device_type: str = 'cpu') -> bool:
    """Whether mmcv's compiled operators can run on a kind of device.

    Args:
        device_type: ``'cpu'`` or ``'cuda'``, as in ``torch.device.type``.
    """
    extension = importlib.import_module('mmcv._ext')
    if isinstance(extension, OperatorPlaceholder):
        return False
    return device_type == 'cpu' or 'not available' not in extension.get_compiling_cuda_version()


def apply() -> None:
    """Check the packages and install what they lack; calling it again changes nothing.

    Raises:
        ImportError: mmengine, mmcv or mmdet is missing, broken or too old.
    """
    for name, minimum in MINIMUM_VERSIONS.items():
        _require(name, minimum)
    _fill_missing_operators()
    _fill_missing_panopticapi()
    _allow_training_state_in_checkpoints()
    _import_noisy_parts()
    _complete_registries_of_mmdet()
    _tell_which_scores_are_better()
    _let_inferencer_take_run_lengths()


def _require(name: str, minimum: str) -> None:
    fix = ('install it with `pip install "mmpanseg[onedl]"` '
           '(or `"mmpanseg[openmmlab]"` for the official packages)')
    try:
        module = importlib.import_module(name)
        found = module.__version__
    # mmdet refuses an mmcv that it does not know with an AssertionError
    except (ImportError, AssertionError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            raise ImportError(f'mmpanseg needs {name} >= {minimum}: {fix}') from None
        raise ImportError(f'mmpanseg needs {name} >= {minimum}, and importing it fails with '
                          f'"{error}": {fix}') from error
    from mmengine.utils import digit_version
    if digit_version(found) < digit_version(minimum):
        raise ImportError(f'mmpanseg needs {name} >= {minimum}, but {found} is installed: {fix}')


def _fill_missing_operators() -> None:
    import torch  # noqa: F401  the extension links against libraries that torch loads

    try:
        importlib.import_module('mmcv._ext')
        return
    except ModuleNotFoundError:
        reason = 'this mmcv was installed without them'
    except ImportError as error:  # compiled against another torch, for instance
        reason = f'importing mmcv._ext fails with "{error}"'
    sys.modules['mmcv._ext'] = OperatorPlaceholder(reason)
    _replace_dummies()


def _replace_dummies() -> None:
    """Undo what mmcv and mmdet noted down while the operators could not be imported.

    Modules of theirs that were imported earlier hold dummies, also for what needs no operator.
    """
    ops = importlib.import_module('mmcv.ops')
    for module_name, module in list(sys.modules.items()):
        if module_name == 'mmcv.cnn.bricks.transformer':
            module.MultiScaleDeformableAttention = ops.MultiScaleDeformableAttention
        elif module_name.startswith('mmdet.'):
            for name in _PURE_PYTORCH:
                value = vars(module).get(name)
                if getattr(value, '__module__', '').startswith('mmdet.'):
                    setattr(module, name, getattr(ops, name))


def _fill_missing_panopticapi() -> None:
    """Register the color coding under panopticapi's name, which mmdet's inferencer asks for.

    There is no ``PQStat``: mmdet's CocoPanopticMetric, which scores with it, goes on saying that
    panopticapi is not installed.
    """
    if 'panopticapi' in sys.modules or importlib.util.find_spec('panopticapi') is not None:
        return
    from mmpanseg.structures.panoptic_png import id2rgb, rgb2id

    package = _new_module('panopticapi', is_package=True)
    package.utils = _new_module('panopticapi.utils', rgb2id=rgb2id, id2rgb=id2rgb)
    package.evaluation = _new_module('panopticapi.evaluation', VOID=0)
    inferencer = sys.modules.get('mmdet.apis.det_inferencer')
    if inferencer is not None and inferencer.VOID is None:
        inferencer.VOID = package.evaluation.VOID
        inferencer.id2rgb = id2rgb


def _allow_training_state_in_checkpoints() -> None:
    """Let ``torch.load`` read the loss history, without which no run resumes.

    Since torch 2.6 it reads nothing but tensors and plain containers unless told so. onedl's
    mmengine tells it; the official one does not.
    """
    import numpy as np
    import torch
    from mmengine.logging import HistoryBuffer
    from mmengine.runner import checkpoint
    from mmengine.utils import digit_version

    if (hasattr(checkpoint, 'get_torch_safe_globals')
            or digit_version(torch.__version__) < digit_version('2.6.0')):
        return

    def statistic(owner: type, name: str) -> Callable:
        """A history's functions are pickled as getattr(HistoryBuffer, name): only that."""
        if owner is not HistoryBuffer:
            raise pickle.UnpicklingError(f'getattr of {owner} in a checkpoint')
        return getattr(owner, name)

    numpy_types = {type(np.dtype(name)) for name in ('int32', 'int64', 'float32', 'float64')}
    torch.serialization.add_safe_globals([
        HistoryBuffer, (statistic, 'builtins.getattr'), np.ndarray, np.dtype, *numpy_types,
        # the same functions, as a checkpoint of numpy 2 and of numpy 1 calls them
        *((np.array(0).__reduce__()[0], f'numpy.{core}.multiarray._reconstruct')
          for core in ('_core', 'core')),
        *((np.float64(0).__reduce__()[0], f'numpy.{core}.multiarray.scalar')
          for core in ('_core', 'core'))])


def _import_noisy_parts() -> None:
    """Import the parts of mmdet that announce which optional packages they did without."""
    warnings.filterwarnings('ignore', message='faster_coco_eval is not installed')
    with contextlib.redirect_stdout(io.StringIO()):
        importlib.import_module('mmdet.datasets')


def _complete_registries_of_mmdet() -> None:
    """Give mmdet's scope a registry of functions; without one every inferencer warns of it."""
    from mmengine.registry import FUNCTIONS, Registry
    if 'mmdet' not in FUNCTIONS.children:
        Registry('function', parent=FUNCTIONS, scope='mmdet', locations=['mmdet.registry'])


def _tell_which_scores_are_better() -> None:
    """Let ``save_best`` and early stopping know that higher scores of our metrics are better."""
    from mmengine.hooks import CheckpointHook, EarlyStoppingHook
    for hook in (CheckpointHook, EarlyStoppingHook):
        known = hook._default_greater_keys
        hook._default_greater_keys = [*known, *(key for key in GREATER_KEYS if key not in known)]


def _let_inferencer_take_run_lengths() -> None:
    """Let mmdet's DetInferencer take masks that are run lengths; it reads dense ones alone."""
    from mmdet.apis import DetInferencer
    original = DetInferencer.pred2dict
    if hasattr(original, '__wrapped__'):
        return

    @functools.wraps(original)
    def pred2dict(self: DetInferencer, data_sample: Any, pred_out_dir: str = '') -> dict:
        return original(self, _with_dense_masks(data_sample), pred_out_dir)

    DetInferencer.pred2dict = pred2dict


def _with_dense_masks(data_sample: Any) -> Any:
    """A data sample, or one like it with dense masks [n, H, W] in place of n run lengths."""
    import numpy as np
    import torch
    from pycocotools import mask as rle_tools

    found = data_sample.get('pred_instances')
    if found is None or not isinstance(found.get('masks'), list):
        return data_sample
    dense = np.zeros((len(found), *data_sample.ori_shape[:2]), bool)
    for index, mask in enumerate(found.masks):
        dense[index] = rle_tools.decode(mask)
    instances = found.clone()  # copies hold the same tensors; the caller's stay as they are
    instances.masks = torch.from_numpy(dense)
    data_sample = data_sample.clone()
    data_sample.pred_instances = instances
    return data_sample


def _new_module(name: str, is_package: bool = False, **content: Any) -> ModuleType:
    module = importlib.util.module_from_spec(ModuleSpec(name, loader=None, is_package=is_package))
    module.__doc__ = 'Stand-in of mmpanseg: panopticapi is not installed.'
    vars(module).update(content)
    sys.modules[name] = module
    return module
