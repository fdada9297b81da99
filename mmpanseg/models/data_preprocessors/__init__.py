from mmpanseg.models.data_preprocessors.fixed_size import FixedSizeDataPreprocessor

__all__ = ['FixedSizeDataPreprocessor']
