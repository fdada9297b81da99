from mmpanseg.browse.page import Markup, table, tag, write_page
from mmpanseg.browse.run import Browsed, BrowseOptions, browse

__all__ = ['BrowseOptions', 'Browsed', 'Markup', 'browse', 'table', 'tag', 'write_page']
