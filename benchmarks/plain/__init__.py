"""The official steps, read plainly: one thing at a time, nothing shared. What v2l's own ways are held against, in figures and in speed."""
