"""Tiny trained-like models as predictors; see test_apis/conftest.py."""
from ..test_apis.conftest import pictures, system, system_config, weights
from ..test_cli.conftest import mmpanseg_command

__all__ = ['mmpanseg_command', 'pictures', 'system', 'system_config', 'weights']
