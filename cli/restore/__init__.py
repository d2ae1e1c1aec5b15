"""v2l inpaint, outpaint, deblur, unshift and unrotate: one command, one file, one definition of their options."""
