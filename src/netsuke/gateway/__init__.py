"""What is served, over HTTP, for clients that exist: the Open Inference Protocol (KServe's version 2)."""
