"""Training the network: sample pool, augmentation, objective, loop."""
