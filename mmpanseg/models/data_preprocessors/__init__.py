from mmpanseg.models.data_preprocessors.channels import ChannelDataPreprocessor
from mmpanseg.models.data_preprocessors.fixed_size import FixedSizeDataPreprocessor

__all__ = ['ChannelDataPreprocessor', 'FixedSizeDataPreprocessor']
