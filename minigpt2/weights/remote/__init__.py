"""A safetensors file on the hub, read by the byte range: as if it were here, whole.

It is a sparse local file of the published size (`sparse_file`) whose missing ranges (`byte_ranges`) are fetched over
HTTP (`hub_file`) when a tensor (`array`) is indexed (`tensors`). So one reader and one validator serve both kinds of
file, and what was fetched is the cache.
"""
