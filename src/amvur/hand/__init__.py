"""Parametric hands: the open hand (default) and the user's MANO."""
