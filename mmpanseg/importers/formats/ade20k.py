"""ADE20K as downloaded (ADEChallengeData2016, with annotations_instance)."""
from pathlib import Path

from mmpanseg.datasets.converters.ade20k import FOLDERS, convert_ade20k
from mmpanseg.importers.panoptic_json import PanopticJsonReader
from mmpanseg.importers.source_image import SourceError


class Ade20kReader(PanopticJsonReader):
    """Reads what :func:`mmpanseg.datasets.converters.convert_ade20k` makes."""

    def list_jsons(self) -> list[tuple[Path, Path, list[Path], str]]:
        images = {split: self.src / 'images' / name for split, name in FOLDERS.items()}
        splits = [split for split, folder in images.items() if folder.is_dir()]
        if not splits:
            raise SourceError(f'{self.src} has no images/training/ or images/validation/; it must '
                              'be the unpacked ADEChallengeData2016')
        for split in splits:
            convert_ade20k(self.src, self.scratch, split, self.workers)
        names = {split: self.scratch / f'ade20k_panoptic_{split}' for split in splits}
        return [(folder.with_suffix('.json'), folder, [images[split]], split)
                for split, folder in names.items()]


READER = Ade20kReader
