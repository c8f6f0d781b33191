"""Being here lets tests in the folders below import `truth`, `told` and their neighbors."""
