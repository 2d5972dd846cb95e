"""Which way each weight is rounded: one file a method.

A method is a function of a ``Problem``: the weights of one layer on one grid, and rows of what the layer
reads in the quantized network beside what it should give. ``reconstruct`` walks a network and lets the
method solve layer after layer.
"""
