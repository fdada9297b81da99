"""Files of weights that ask to run a command."""
import os
import pickle
from pathlib import Path

import torch


class Call:
    """Pickled as a call of a function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


# where the call is, and in which form of file
KINDS = ('zip', 'old', 'pkl', 'optimizer', 'config')


def write_hostile(content: dict, kind: str, folder: Path) -> tuple[Path, Path]:
    """Write a checkpoint of the kind.

    Args:
        content: of a harmless checkpoint of a training.
        kind: one of KINDS.
        folder: folder for the file.

    Returns:
        path of the file, and the path that exists after its code ran.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / 'ran'
    call = Call(os.system, f'touch {mark}')
    path = folder / ('x.pkl' if kind == 'pkl' else 'x.pth')
    if kind == 'config':
        text = f'import os\nos.system("touch {mark}")\n{content["meta"]["cfg"]}'
        hub = content['message_hub']
        content = dict(
            content, meta=dict(content['meta'], cfg=text, config=text),
            message_hub=dict(hub, runtime_info=dict(hub['runtime_info'], cfg=text)))
        torch.save(content, path)
    elif kind == 'optimizer':
        optimizer = content['optimizer']
        torch.save(dict(content, optimizer=dict(optimizer, state={0: dict(step=call)})), path)
    else:
        content = dict(content, meta=dict(content['meta'], more=call))
        if kind == 'pkl':
            path.write_bytes(pickle.dumps(content))
        else:
            torch.save(content, path, _use_new_zipfile_serialization=kind == 'zip')
    return path, mark
