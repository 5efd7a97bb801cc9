"""The precision classes that engines are compared in, and how near to PyTorch's float32 each has to come.

Measured on VOLO-D2 with random weights, normal noise as images (largest error, least cosine; see `bench.agreement`):

    bfloat16   OpenVINO, PyTorch: 0.010, 0.96
    int8       ONNX Runtime dynamic 0.030, 0.87; QDQ of the products 0.041, 0.80; OpenVINO 0.036, 0.93
    refused    QDQ of every operator: 0.24, 0.45, another class for every image
    mistakes   a lost attention or MLP: at least 0.17; the answer of another image: a cosine below 0; one answer for
               all images: a cosine of 0, though the error is 0.03 only, for random weights answer much alike

The same for ViT-B/16 and ResNet-50 of `bench.zoo`:

    bfloat16   0.010, 0.99 and 0.006, 0.96
    int8       0.048, 0.99 and 0.025, 0.64; of Alula 0.031, 0.99 and 0.022, 0.84
    refused    ONNX Runtime's QDQ of ViT-B/16: 0.12, as far off as without the attention of one layer
    mistakes   ViT-B/16 without the attention of one layer: at least 0.11, without an MLP 0.24; ResNet-50 without a
               convolution: 0.41; one answer for all images: a cosine of 0, the error of ResNet-50 being 0.015 only
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Precision:
    """A class: `mode` is Alula's name for how it builds for it; the rest is what an answer has to keep to."""

    name: str
    mode: str
    largest_error: float  # max abs difference / max abs reference
    least_cosine: float  # of what tells an image from the others, with the same of the reference; the worst image
    least_same: float = 0.0  # share of equal arg-maxes; rounding alone may decide between two classes that are near


FLOAT32 = Precision("float32", "force_float32", 1e-4, 0.99, least_same=0.999)  # of a picture's pixels, or every image
FLOAT16 = Precision("float16", "force_float16", 5e-3, 0.98)
BFLOAT16 = Precision("bfloat16", "force_bfloat16", 3e-2, 0.85)
INT8 = Precision("int8", "qint8_mixed_bfloat16", 0.1, 0.6)
INT8_FLOAT32 = "qint8_mixed_float32"  # the mode whose other operators are in float32

PRECISIONS = {precision.name: precision for precision in (FLOAT32, FLOAT16, BFLOAT16, INT8)}
