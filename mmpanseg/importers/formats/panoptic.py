"""COCO panoptic JSON and PNGs, to select and rename classes or to split them anew."""
from pathlib import Path

from mmpanseg.importers.coco_json import split_of_name
from mmpanseg.importers.formats.coco import find_jsons, image_folders
from mmpanseg.importers.panoptic_json import PanopticJsonReader
from mmpanseg.importers.source_image import SourceError

_OTHERS = ('captions', 'person_keypoints', 'image_info', 'instances', 'stuff')


class PanopticReader(PanopticJsonReader):
    """A JSON, or a folder with ``annotations/panoptic_{split}.json``, PNGs in a folder beside it.

    The folder of PNGs has the name of the JSON.
    """

    options = ('images', 'annotations')

    def list_jsons(self) -> list[tuple[Path, Path, list[Path], str]]:
        files = find_jsons(self.src, self.read_options.annotations, _OTHERS)
        files = [file for file in files if file.name.startswith('panoptic')] or files
        found = []
        for file in files:
            pngs = file.with_suffix('')
            if not pngs.is_dir():
                raise SourceError(f'{pngs}: no such folder; it has the PNGs of {file.name}')
            split = split_of_name(file.stem) if len(files) > 1 else ''
            found.append((file, pngs, image_folders(
                file, self.src, self.read_options.images, split), split))
        return found


READER = PanopticReader
