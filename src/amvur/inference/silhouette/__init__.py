"""Where a photograph shows a hand: the segmentation near a mesh, and the contour that follows from it."""
