"""Import of data of other software: readers of its formats, one writer of panoptic data.

:func:`mmpanseg.importers.run.run_import` does all of it; docs/import.md has formats and rules.
"""
