"""The web app: what its server does, and its page, which needs the package gradio.

Only :mod:`mmpanseg.ui.page` and :mod:`mmpanseg.ui.server` import gradio and what it brings.
"""
