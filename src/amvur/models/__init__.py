"""Networks: they know tensors, not files, losses or data sets."""
