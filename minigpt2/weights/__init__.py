"""Files of tensors: from a model's name or path to read-only numpy arrays by name.

- `checkpoint`: `Checkpoint`, what people import; `gpt2_layout`: what makes a checkpoint a GPT-2;
- `tensor_names`: which tensor is meant by each of GPT-2's names; `shared_tensors`: which names are of one tensor;
- `files`: one file, or shards and their index, on this machine or on the hub;
- `safetensors_file`, `safetensors_writer`: reading and writing one file; `damage`: why a file was refused;
- `remote/`: a file on the hub, read by byte ranges; `file_io`: reads and writes at an offset;
- `other_files`, `kept_path`: finding the files that belong to weights;
- `stats`, `diff`, `html_tables`: looking at tensors.
"""
