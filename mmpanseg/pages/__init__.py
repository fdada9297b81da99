from mmpanseg.pages.page import Markup, table, tag, write_page

__all__ = ['Markup', 'table', 'tag', 'write_page']
