"""Networks to start a search from where there is none yet: the largest of a space, a file a field of use.

Every one has channels and residual branches that may leave, so that ``search.supernet`` and ``search.subnet``,
``prune.channels`` or a study find the one a device wants.
"""
