"""Looking at results: the overlay picture and the 3D viewer in the browser."""

from amvur.viewer.overlay import draw_overlay

__all__ = ["draw_overlay"]
