"""A safetensors file on the hub, read by byte ranges.

`tensors` keeps a sparse local file of the published size (`sparse_file`). When a tensor (`array`) is indexed, the byte
ranges that are missing (`byte_ranges`) are fetched over HTTP (`hub_file`). The reader of local files does the rest, and
the sparse file is the cache.
"""
