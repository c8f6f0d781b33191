"""The estimator: a hand's posterior as a sum of terms over one state, minimised and curved (docs/method.md).

numpy, float64, right hands only, a batch of B hands at a time.
"""
