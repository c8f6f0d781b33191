"""Folders of real hand photographs in our conventions; `amvur.data.real.opening` recognises them."""
