"""Finding hands: MediaPipe's networks, or boxes and joints that the user gives."""
