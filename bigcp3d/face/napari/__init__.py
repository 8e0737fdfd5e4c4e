"""The napari plugin: stores opened lazily, a preview of settings, the review of cells, and corrections with a brush.

Modules hold what happens, on napari's viewer model, which needs no window; `bigcp3d.face.napari.widgets` has the
buttons. ``napari.yaml`` is the manifest.
"""
