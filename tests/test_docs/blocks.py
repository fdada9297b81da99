"""The code blocks of the documentation, and what kind of thing each of them is."""
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ('README.md', 'docs/*.md', 'docs/tutorials/*.md', 'configs/*/README.md',
         'projects/*/README.md')
# first words of lines that are commands
COMMANDS = ('make ', 'python ', 'python3 ', 'pip ', 'mim ', 'wget ', 'gdown ', 'tools/', '.venv/',
            'mmpanseg ')


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, and its text."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f'{self.page}:{self.line}'

    @property
    def kind(self) -> str:
        """'config', 'script', 'commands', 'layout' (a folder tree) or 'flow' (of the data)."""
        if self.language == 'python':
            return 'script' if re.search(r'^(import|from) ', self.text, re.M) else 'config'
        lines = [re.sub(r'^(\w+=\S+ )+', '', line) for line in self.text.splitlines()]
        if any(line.startswith(COMMANDS) for line in lines) or re.match(r'[A-Z]+=', self.text):
            return 'commands'
        return 'layout' if self.text.startswith('data/') else 'flow'


def all_blocks() -> list[Block]:
    """Every fenced block of the documentation."""
    found = []
    for path in sorted(path for pattern in PAGES for path in ROOT.glob(pattern)):
        text = path.read_text()
        for match in re.finditer(r'^```(\w*)\n(.*?)^```', text, re.S | re.M):
            found.append(Block(path.relative_to(ROOT).as_posix(),
                               text.count('\n', 0, match.start()) + 1, *match.groups()))
    return found


def blocks_of(kind: str) -> list[Block]:
    """The blocks of one kind."""
    return [block for block in all_blocks() if block.kind == kind]
