"""Models by name: configs, checkpoints, folders of transformers, published weights.

Neither torch nor mmengine is imported until a model is resolved.
"""
from mmpanseg.hub.config_files import find_configs
from mmpanseg.hub.model_index import ModelInfo, list_models
from mmpanseg.hub.resolve import ResolvedModel, resolve_model

__all__ = ['ModelInfo', 'ResolvedModel', 'find_configs', 'list_models', 'resolve_model']
