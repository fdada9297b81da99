"""Build step that adds configs and tools to the package, for mim; the rest is in pyproject.toml."""
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
FOR_MIM = ('configs', 'tools', 'model-index.yml')
# Of use in a checkout only.
NOT_FOR_MIM = ('__pycache__', '*.pyc', 'benchmark', 'install.sh')


class BuildWithConfigs(build_py):
    """Adds configs, tools and the model index to ``mmpanseg/.mim``, where mim searches them.

    A wheel contains copies without the benchmarks, an editable install links to the checkout.
    """

    def run(self) -> None:
        super().run()
        editable = getattr(self, 'editable_mode', False)
        folder = (ROOT if editable else Path(self.build_lib)) / 'mmpanseg' / '.mim'
        folder.mkdir(parents=True, exist_ok=True)
        for name in FOR_MIM:
            target = folder / name
            if target.is_symlink() or target.is_file():
                target.unlink()
            elif target.is_dir():
                shutil.rmtree(target)
            if editable:
                target.symlink_to(Path('../..') / name)
            elif (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, target,
                                ignore=shutil.ignore_patterns(*NOT_FOR_MIM))
            else:
                shutil.copy(ROOT / name, target)


setup(cmdclass=dict(build_py=BuildWithConfigs))
