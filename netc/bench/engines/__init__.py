"""The engines that are compared, one file each: how it builds a net, and what a call of it is."""
