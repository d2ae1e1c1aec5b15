"""v2l inpaint, outpaint, deblur, unshift, unrotate: a file for each command, and their shared options."""
