"""One file per verb: ``name.py`` with a click command named ``command``.

A file imports at its top nothing heavier than click; its function imports what it needs.
"""
