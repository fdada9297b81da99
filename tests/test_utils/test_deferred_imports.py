"""Deferred import statements: real objects after their first use, untouched imports elsewhere."""
import builtins
import json
import subprocess
import sys
import textwrap
import threading
from types import ModuleType

import pytest
from mmengine.registry import OPTIMIZERS

from mmpanseg.utils.deferred_imports import (
    Deferred,
    deferred_imports,
    registered_classes,
    resolve,
)

PAINT = '''
from paint.colors import mix
class Brush:
    width = 3
    def __init__(self, size): self.size = size
SIZE = [1, 2]
'''


@pytest.fixture
def paint(tmp_path, monkeypatch):
    """A package with a module colors, and a package that cannot be imported."""
    (tmp_path / 'paint').mkdir()
    (tmp_path / 'paint/__init__.py').write_text(PAINT)
    (tmp_path / 'paint/colors.py').write_text('def mix(a, b): return a + b')
    (tmp_path / 'paint/deep').mkdir()
    (tmp_path / 'paint/deep/__init__.py').write_text('')
    (tmp_path / 'paint/deep/blue.py').write_text('NAME = "blue"')
    (tmp_path / 'broken_paint.py').write_text('raise ImportError("no oil")')
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in [*sys.modules]:
        if name.partition('.')[0] == 'paint':
            del sys.modules[name]


@pytest.fixture
def user(monkeypatch):
    """Executes statements in a module of mmdet, with deferred imports."""
    def run(source, packages=('paint', 'broken_paint', 'absent_paint'), name='mmdet.painter'):
        module = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        module.__package__ = name.rpartition('.')[0]
        with deferred_imports(packages):
            exec(textwrap.dedent(source), vars(module))
        return module
    return run


def test_names_of_a_module(paint, user):
    module = user('''
        from paint import Brush, SIZE as sizes
        from paint.colors import mix
        def use(): return Brush(4), mix(1, 2), sizes[1], isinstance(3, Brush)
        ''')
    other = user('from mmdet.painter import Brush', name='mmdet.other')
    assert 'paint' not in sys.modules and type(module.Brush) is Deferred
    assert repr(module.Brush) == '<deferred import of paint.Brush>'
    assert not isinstance(3, module.Brush) and not issubclass(int, module.Brush)
    assert 'paint' not in sys.modules  # an instance of an unknown class does not exist
    brush, mixed, size, wrong = module.use()
    import paint
    assert type(brush) is paint.Brush and (brush.size, mixed, size, wrong) == (4, 3, 2, False)
    assert module.Brush is other.Brush is paint.Brush
    assert module.mix is paint.mix and module.sizes is paint.SIZE


def test_modules(paint, user):
    module = user('''
        import paint
        import paint.deep.blue as blue
        import paint.colors
        ''')
    assert 'paint' not in sys.modules
    assert module.blue.NAME == 'blue'
    assert module.blue is sys.modules['paint.deep.blue']
    assert module.paint.colors.mix(1, 1) == 2 and module.paint.Brush.width == 3
    assert module.paint is sys.modules['paint']


def test_a_submodule_as_a_name(paint, user):
    module = user('from paint.deep import blue')
    assert resolve(module.blue) is sys.modules['paint.deep.blue'] is module.blue


def test_a_base_class_is_imported_at_once(paint, user):
    module = user('from paint import Brush\nclass Wide(Brush): pass')
    assert module.Wide.__mro__[1] is sys.modules['paint'].Brush is module.Brush


def test_classes_in_annotations_and_checks(paint, user):
    module = user('from paint import Brush\ndef paint(brush: Brush | None = None): return brush')
    import paint
    assert module.paint.__annotations__['brush'] == (paint.Brush | None)
    stand_in = Deferred('paint', 'Brush')
    assert isinstance(paint.Brush(1), stand_in) and issubclass(paint.Brush, stand_in)
    assert isinstance(stand_in, type) and stand_in.__name__ == 'Brush'
    stand_in.width = 5
    assert paint.Brush.width == 5


def test_missing_and_broken_packages(paint, user):
    with pytest.raises(ModuleNotFoundError, match='absent_paint'):
        user('import absent_paint')
    module = user('import broken_paint\nfrom paint import absent')
    with pytest.raises(ImportError, match='no oil'):
        module.broken_paint.x  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'absent' from 'paint'"):
        module.absent()


def test_other_modules_and_star_imports_are_as_always(paint, user):
    assert user('from paint import Brush', name='painter').Brush.width == 3
    del sys.modules['paint'], sys.modules['paint.colors']
    assert type(user('from paint import *').Brush) is type


def test_what_is_imported_already_is_not_deferred(paint, user):
    import paint
    module = user('import paint\nfrom paint import Brush\nfrom paint.deep import blue')
    assert module.paint is paint and module.Brush is paint.Brush
    assert type(module.blue) is Deferred and module.blue.NAME == 'blue'


def test_the_import_function_is_restored():
    original = builtins.__import__
    with pytest.raises(ZeroDivisionError), deferred_imports(['paint']):
        with deferred_imports(['paint']):
            assert builtins.__import__ is not original
        assert builtins.__import__ is not original
        raise ZeroDivisionError
    assert builtins.__import__ is original


def test_threads_resolve_to_one_object(paint, user):
    module = user('from paint import Brush')
    stand_in, found = module.Brush, []
    barrier = threading.Barrier(4)

    def use():
        barrier.wait()
        found.append(resolve(stand_in))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [sys.modules['paint'].Brush] * 4


def test_registered_classes_are_found_in_the_source():
    assert registered_classes('''
@REGISTRY.register_module()
class A(Base): pass
@functools.cache
@OTHER.register_module()
def build(): pass
class B: pass
''') == [('REGISTRY', 'A'), ('OTHER', 'build')]


@pytest.fixture
def optimizer(tmp_path, monkeypatch):
    """A module with an optimizer for mmengine's registry, in a package that it extends."""
    import mmengine.optim
    (tmp_path / 'made_up.py').write_text(
        'from mmengine.registry import OPTIMIZERS\n'
        '@OPTIMIZERS.register_module()\nclass MadeUp:\n    def __init__(self, lr): self.lr = lr\n')
    monkeypatch.setattr(mmengine.optim, '__path__', [*mmengine.optim.__path__, str(tmp_path)])
    yield 'mmengine.optim.made_up'
    OPTIMIZERS.module_dict.pop('MadeUp', None)
    sys.modules.pop('mmengine.optim.made_up', None)


@pytest.mark.parametrize('first', ['build', 'import'])
def test_registered_modules(optimizer, monkeypatch, first):
    module = ModuleType('mmengine.user')
    monkeypatch.setitem(sys.modules, 'mmengine.user', module)
    module.__package__ = 'mmengine'
    with deferred_imports([], [optimizer]):
        exec('from .optim.made_up import MadeUp', vars(module))
    assert optimizer not in sys.modules and 'MadeUp' in OPTIMIZERS.module_dict
    if first == 'import':
        import mmengine.optim.made_up  # noqa: F401
    built = OPTIMIZERS.build(dict(type='MadeUp', lr=2))
    real = sys.modules[optimizer].MadeUp
    assert type(built) is real is OPTIMIZERS.get('MadeUp') and built.lr == 2
    assert resolve(module.MadeUp) is real


PLAIN = '''
import json, sys, warnings
warnings.simplefilter('ignore')
import mmpanseg
if sys.argv[1] == 'fast':
    from mmpanseg.engine import import_mmdet
    import_mmdet()
    slow = {'transformers', 'imgaug', 'matplotlib', 'sympy', 'numba', 'shapely', 'scipy.stats',
            'torch.distributed.fsdp', 'torch._dynamo', 'skimage'} & {*sys.modules}
    assert not slow, slow
else:
    import mmdet.evaluation, mmdet.models, mmdet.visualization, mmdet.engine, mmdet.apis
import mmengine.registry, mmdet.registry
def names():
    return {f'{place.__name__}.{name}': sorted(
        [key, value.__module__, value.__qualname__] for key, value in registry.module_dict.items())
        for place in (mmengine.registry, mmdet.registry) for name, registry in vars(place).items()
        if isinstance(registry, mmengine.registry.Registry)}
found = names()
if sys.argv[1] == 'fast':
    # what mmdet and mmengine hold is real after its first use
    import transformers
    from transformers import Adafactor
    from mmengine.registry import OPTIMIZERS, MODEL_WRAPPERS, STRATEGIES
    assert OPTIMIZERS.get('Adafactor') is Adafactor
    import mmdet.datasets.transforms.text_transformers as text
    assert text.AutoTokenizer.from_pretrained
    assert text.AutoTokenizer is transformers.AutoTokenizer
    import mmdet.datasets.transforms.generate_line as line
    assert line.iaa.Affine(rotate=10)
    import imgaug.augmenters
    assert line.iaa is imgaug.augmenters
    assert line.LineString([(0, 0), (1, 1)]).length > 1.4
    import torch.distributed.fsdp
    from mmengine.model import MMFullyShardedDataParallel
    assert issubclass(MMFullyShardedDataParallel, torch.distributed.fsdp.FullyShardedDataParallel)
    assert STRATEGIES.get('FSDPStrategy').__name__ == 'FSDPStrategy'
    from mmengine.optim import ZeroRedundancyOptimizer
    assert OPTIMIZERS.get('ZeroRedundancyOptimizer') is ZeroRedundancyOptimizer
    import mmdet.visualization.local_visualizer as visualizer
    import matplotlib.pyplot
    assert visualizer.plt.figure and visualizer.plt is matplotlib.pyplot
from mmdet.models.utils import BertEncoderLayer, permute_and_flatten
found['bases'] = [f'{base.__module__}.{base.__name__}' for base in BertEncoderLayer.__mro__]
found['function'] = permute_and_flatten.__name__
print(json.dumps(found))
'''


@pytest.mark.slow
def test_registries_are_those_of_a_plain_import(tmp_path):
    (tmp_path / 'program.py').write_text(PLAIN)
    results = []
    for kind in ('fast', 'plain'):
        done = subprocess.run([sys.executable, str(tmp_path / 'program.py'), kind],
                              capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        results.append(json.loads(done.stdout.splitlines()[-1]))
    fast, plain = results
    assert fast == plain
    assert sum(map(len, fast.values())) > 900
