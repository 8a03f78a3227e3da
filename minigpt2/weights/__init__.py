"""Files of tensors: from a model's name or path to read-only numpy arrays by name.

- `checkpoint`: `Checkpoint`, what people import; `files`: one file, or shards and their index, here or on the hub;
- `safetensors_file`, `safetensors_writer`: one file, read and written; `damage`: what is wrong with a refused one;
- `remote/`: a file on the hub, read by byte ranges; `file_io`: reads and writes at an offset;
- `stats`, `diff`, `html_tables`: looking at tensors.
"""
