"""Reading and writing ONNX graphs whose weights lie in a file beside them: one of more than 2 GiB has no other form."""
import os

import onnx

load = onnx.load


def save(model, path, weights_suffix=".data"):
    """`path` and `path + weights_suffix`."""
    name = os.path.basename(path) + weights_suffix
    for file in (path, os.path.join(os.path.dirname(path), name)):
        if os.path.exists(file):
            os.remove(file)  # onnx appends to what is there
    onnx.save_model(
        model, path, save_as_external_data=True, all_tensors_to_one_file=True, location=name, size_threshold=4096
    )
