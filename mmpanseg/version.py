"""Version of the package, also of its distribution."""
__version__ = '0.1.0'
