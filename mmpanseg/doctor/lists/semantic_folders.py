"""Checks of folders of images and label maps."""
import os
import os.path as osp
from collections.abc import Iterator

from mmengine import fileio

from mmpanseg.doctor.lists.files import Folders, is_local
from mmpanseg.doctor.lists.findings import Findings
from mmpanseg.doctor.lists.images import check_file_name
from mmpanseg.doctor.source import ImageRecord
from mmpanseg.structures.image_file import IMAGE_SUFFIXES


def read_folders(found: Findings, folders: Folders) -> list[ImageRecord]:
    """Join images and label maps of the same names.

    Args:
        found: receives the problems.
        folders: receives the names of the files.

    Returns:
        the images; those without a map have ``annotation_path=None``.
    """
    source = found.source
    if not source.classes:
        found.add('PAN044', 'the data set has no metainfo=dict(classes=(...))')
    for name in sorted({name for name in source.classes if source.classes.count(name) > 1}):
        found.add('PAN045', f'class {name!r} appears several times in metainfo')
    for kind, folder in (('images', source.img_prefix), ('label maps', source.seg_prefix)):
        if ((kind == 'images' or folder) and is_local(source, folder)
                and not osp.isdir(folder or '.')):
            found.add('PAN043', f'the folder of {kind} does not exist', file=folder)
    together = source.seg_prefix and osp.normpath(source.seg_prefix) == osp.normpath(
        source.img_prefix or '.')
    images = _named(source.img_prefix, source.img_suffix,
                    source.seg_suffix if together else None, found)
    maps = _named(source.seg_prefix, source.seg_suffix, None, found) if source.seg_prefix else {}
    if source.seg_prefix:
        for name in sorted(maps.keys() - images.keys()):
            found.add('PAN040', f'no image in {source.img_prefix} is named {name}', file=maps[name])
        for name in sorted(images.keys() - maps.keys()):
            found.add('PAN039', f'{osp.join(source.seg_prefix, name + source.seg_suffix)} does '
                      'not exist', file=images[name], image_id=name)
    records = []
    for name, file in sorted(images.items()):
        check_file_name('image', file, found, dict(file=file, image_id=name))
        path = osp.join(source.img_prefix, file)
        folders.listed[osp.normpath(osp.dirname(path) or '.')].add(osp.basename(path))
        label_map = maps.get(name)
        records.append(ImageRecord(
            name, file, path,
            annotation_path=osp.join(source.seg_prefix, label_map) if label_map else None,
            annotation_name=label_map))
    return records


def _named(folder: str, suffix: str | None, not_suffix: str | None,
           found: Findings) -> dict[str, str]:
    """List the files of a folder and its subfolders by their names without ending."""
    files = [file for file in _walk(folder, found)
             if not_suffix is None or suffix == not_suffix or not _ends(file, not_suffix)]
    endings = IMAGE_SUFFIXES if suffix is None else (suffix, )
    chosen = [file for file in files if _ends(file, *endings)]
    named: dict[str, str] = {}
    for file in chosen:
        name = osp.splitext(file)[0] if suffix is None else file[:-len(suffix)]
        other = named.setdefault(name, file)
        if other != file:
            found.add('PAN041', f'{other} and {file} have one name without their endings',
                      file=file, image_id=name)
    others = [file for file in files if _ends(file, *IMAGE_SUFFIXES) and not _ends(file, *endings)]
    if others and suffix is not None and folder == found.source.img_prefix:
        more = ', ...' if len(others) > 5 else ''
        found.add('PAN042', f'{len(others)} images in {folder} do not end in {suffix}: '
                  f'{", ".join(others[:5])}{more}', file=folder)
    return named


def _walk(folder: str, found: Findings) -> Iterator[str]:
    def failed(error: OSError) -> None:
        if osp.isdir(error.filename):
            found.add('PAN054', f'the folder cannot be listed: {error.strerror}',
                      file=error.filename)

    source = found.source
    if not is_local(source, folder):
        yield from sorted(fileio.list_dir_or_file(
            folder, list_dir=False, recursive=True, backend_args=source.backend_args))
        return
    for root, names, files in os.walk(folder or '.', onerror=failed, followlinks=True):
        names.sort()
        below = osp.relpath(root, folder or '.')
        for file in sorted(files):
            yield file if below == '.' else osp.join(below, file)


def _ends(name: str, *suffixes: str) -> bool:
    return name.lower().endswith(tuple(suffix.lower() for suffix in suffixes))
