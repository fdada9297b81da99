from .fixed_size import FixedSizeDataPreprocessor

__all__ = ['FixedSizeDataPreprocessor']
