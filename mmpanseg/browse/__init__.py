from mmpanseg.browse.run import Browsed, BrowseOptions, browse

__all__ = ['BrowseOptions', 'Browsed', 'browse']
