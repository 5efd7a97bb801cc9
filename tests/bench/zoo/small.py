"""Every model of the zoo with a block or two of each kind, narrow, on small images: settings and pixels by name."""

from typing import Any

from bench.zoo.mobilenet_v3 import Block
from bench.zoo.squeezenet import POOL

SMALL: dict[str, tuple[int, dict[str, Any]]] = {
    "resnet50": (32, {"embedding_size": 16, "hidden_sizes": [32, 64], "depths": [2, 1]}),
    "mobilenet_v2": (32, {"depth_multiplier": 0.25, "image_size": 32}),
    "mobilenet_v3": (
        32,
        {
            "blocks": (
                Block(3, 16, 16, False, False, 1),
                Block(5, 40, 24, True, False, 2),
                Block(3, 64, 24, True, True, 1),
            )
        },
    ),
    "efficientnet_b0": (
        32,
        {
            "kernel_sizes": [3, 5],
            "in_channels": [32, 8],
            "out_channels": [8, 16],
            "strides": [1, 2],
            "num_block_repeats": [1, 2],
            "expand_ratios": [1, 4],
            "hidden_dim": 1280,
            "image_size": 32,
        },
    ),
    "regnet_y4": (32, {"embedding_size": 16, "hidden_sizes": [32, 64], "depths": [1, 2], "groups_width": 16}),
    "densenet121": (32, {"layers": (2, 2), "growth": 8}),
    "squeezenet": (32, {"fires": (64, POOL, 128)}),
    "shufflenet_v2": (32, {"depths": (2, 2), "channels": (24, 48), "last": 64}),
    "convnext_t": (32, {"num_stages": 2, "hidden_sizes": [16, 32], "depths": [1, 1]}),
    "vit_b16": (
        32,
        {
            "image_size": 32,
            "patch_size": 8,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
        },
    ),
    "deit_s16": (
        32,
        {
            "image_size": 32,
            "patch_size": 8,
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 64,
        },
    ),
    "swin_t": (
        32,
        {
            "image_size": 32,
            "patch_size": 2,
            "window_size": 4,
            "embed_dim": 16,
            "depths": [2, 1],
            "num_heads": [2, 4],
        },
    ),
    "beit_b16": (
        32,
        {
            "image_size": 32,
            "patch_size": 8,
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "out_indices": [1],
        },
    ),
    "clip_b32": (
        32,
        {
            "image_size": 32,
            "patch_size": 8,
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "projection_dim": 24,
        },
    ),
    "mobilevit_s": (
        64,
        {
            "image_size": 64,
            "hidden_sizes": [16, 24, 32],
            "neck_hidden_sizes": [8, 8, 16, 16, 24, 32, 64],
            "num_attention_heads": 2,
        },
    ),
    "segformer_b0": (
        32,
        {
            "num_encoder_blocks": 2,
            "depths": [1, 1],
            "sr_ratios": [4, 1],
            "hidden_sizes": [16, 32],
            "patch_sizes": [7, 3],
            "strides": [4, 2],
            "num_attention_heads": [1, 2],
            "mlp_ratios": [2, 2],
            "decoder_hidden_size": 32,
        },
    ),
    "unet": (32, {"channels": (8, 16, 32)}),
}
