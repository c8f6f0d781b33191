"""Pure functions of tensors: rotations, cameras, crops, alignment."""
