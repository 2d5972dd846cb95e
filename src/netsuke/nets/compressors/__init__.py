"""Fewer bytes for what machines tell each other as they train: gradients, and updates of weights.

A ``Compressor`` says what is sent of a vector, a file each; a ``Memory`` keeps what was not, so that it goes later. After the frame
of Xu et al., 2021, "GRACE: a compressed communication framework for distributed machine learning".
"""
