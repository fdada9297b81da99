"""What the datasets of this library have in common."""
from typing import Optional

from mmdet.datasets import BaseDetDataset

from .transforms.carrying import carry_map, loads_index_map


class SegmentationDataset(BaseDetDataset):
    """Images with a segmentation PNG each; errors name the image.

    Transforms of the pipeline carry the index map along, with a void border, see
    :func:`mmpanseg.datasets.transforms.carrying.carry_map`; one that cannot is an error here.
    """

    METAINFO: dict = {}

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if loads_index_map(self.pipeline):
            carry_map(self.pipeline)

    def prepare_data(self, idx: int) -> Optional[dict]:
        try:
            return super().prepare_data(idx)
        except Exception as error:
            # image readers do not say which file they failed on
            info = self.get_data_info(idx)
            if info['img_path'] in str(error) or str(info['seg_map_path']) in str(error):
                raise
            raise RuntimeError(
                f'{info["img_path"]}: {type(error).__name__} while loading or transforming this '
                f'image: {error}') from error


def with_slashes(file_name: str) -> str:
    """A file name of an annotation file, which may have been written on another system."""
    return file_name.replace('\\', '/')
